package openapi

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/10ex/flows/internal/egress"
)

const maxServers = 20

var serverVariable = regexp.MustCompile(`\{([^{}]+)\}`)

// servers gives the addresses of a list of servers, with the variables in them set to
// what the document says they usually are.
func (c *compiler) servers(v any) []string {
	if c.src.server != "" {
		return []string{c.src.server}
	}
	list, _ := v.([]any)
	var out []string
	for _, one := range list {
		s, _ := one.(map[string]any)
		address := text(s["url"])
		variables, _ := s["variables"].(map[string]any)
		known := true
		address = serverVariable.ReplaceAllStringFunc(address, func(name string) string {
			v, _ := variables[name[1:len(name)-1]].(map[string]any)
			value, ok := v["default"].(string)
			known = known && ok
			return value
		})
		if !known {
			continue
		}
		u, err := url.Parse(address)
		if err != nil {
			continue
		}
		if !u.IsAbs() {
			from, err := url.Parse(c.src.address)
			if err != nil || c.src.address == "" {
				continue
			}
			u = from.ResolveReference(u)
		}
		if address, err = serverAddress(u.String()); err == nil && !slices.Contains(out, address) && len(out) < maxServers {
			out = append(out, address)
		}
	}
	return out
}

// serverAddress checks the address of a server and takes the slash from its end.
func serverAddress(address string) (string, error) {
	u, err := egress.ParseURL(address)
	if err != nil {
		return "", err
	}
	u.RawQuery, u.Fragment = "", ""
	return strings.TrimRight(u.String(), "/"), nil
}
