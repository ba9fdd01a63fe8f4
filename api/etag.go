package api

import (
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
)

// spareKnown leaves out the body of an answer that the client has: If-None-Match names
// its ETag.
func spareKnown(hc huma.Context, next func(huma.Context)) {
	next(hc)
	c := humafiber.Unwrap(hc)
	tag := c.GetRespHeader(fiber.HeaderETag)
	if c.Response().StatusCode() != http.StatusOK || tag == "" || !namesTag(c.Get(fiber.HeaderIfNoneMatch), tag) {
		return
	}
	c.Status(http.StatusNotModified)
	c.Response().ResetBody()
	c.Response().Header.Del(fiber.HeaderContentType)
}

// namesTag compares weakly (RFC 9110, 8.8.3.2), for proxies that pack an answer make its
// tag a weak one. Our tags have no commas in them.
func namesTag(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimSpace(one)
		if one == "*" || strings.TrimPrefix(one, "W/") == tag {
			return true
		}
	}
	return false
}
