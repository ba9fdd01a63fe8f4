package api

import (
	"bytes"
	"encoding/json"

	"github.com/gofiber/fiber/v2"
)

func mustJSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("api: answer: " + err.Error()) // our own types always marshal
	}
	return b.Bytes()
}

func writeJSON(c *fiber.Ctx, status int, v any) error {
	c.Status(status)
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	c.Response().SetBodyRaw(mustJSON(v))
	return nil
}
