package dialect

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// At finds what a JSON pointer, as it stands behind the # of a reference, means in a
// document.
func At(document any, pointer string) (any, error) {
	if plain, err := url.PathUnescape(pointer); err == nil {
		pointer = plain
	}
	if pointer == "" {
		return document, nil
	}
	at := document
	for token := range strings.SplitSeq(pointer[1:], "/") {
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		var ok bool
		switch v := at.(type) {
		case map[string]any:
			at, ok = v[token]
		case []any:
			i, err := strconv.Atoi(token)
			if ok = err == nil && i >= 0 && i < len(v); ok {
				at = v[i]
			}
		}
		if !ok {
			return nil, fmt.Errorf("the reference %q %w", "#"+clip(pointer, 200), errNowhere)
		}
	}
	return at, nil
}

// Last is the last part of a JSON pointer.
func Last(pointer string) string {
	last := pointer[strings.LastIndexByte(pointer, '/')+1:]
	return strings.ReplaceAll(strings.ReplaceAll(last, "~1", "/"), "~0", "~")
}
