package docs_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// curl does what the documents ask of the program of that name, for machines that
// have none: the tests need Go alone.
func curl(args []string) int {
	method, target, body := "", "", ""
	header := http.Header{}
	for len(args) > 0 {
		var value string
		arg := args[0]
		if args = args[1:]; arg == "-H" || arg == "-X" || arg == "--json" {
			if len(args) == 0 {
				return curlFails(errors.New(arg + " needs a value"))
			}
			value, args = args[0], args[1:]
		}
		switch arg {
		case "-s", "-sN", "-N":
		case "-H":
			name, text, _ := strings.Cut(value, ": ")
			header.Add(name, text)
		case "-X":
			method = value
		case "--json":
			method, body = cmp.Or(method, http.MethodPost), value // an -X stands in front
			header.Set("Content-Type", "application/json")
			header.Set("Accept", "application/json")
		default:
			if strings.HasPrefix(arg, "-") || target != "" {
				return curlFails(fmt.Errorf("%s is not understood", arg))
			}
			target = arg
		}
	}
	req, err := http.NewRequest(cmp.Or(method, http.MethodGet), target, strings.NewReader(body))
	if err != nil {
		return curlFails(err)
	}
	req.Header = header
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return curlFails(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(os.Stdout, resp.Body); err != nil {
		return curlFails(err)
	}
	return 0
}

func curlFails(err error) int {
	fmt.Fprintln(os.Stderr, "curl:", err)
	return 1
}
