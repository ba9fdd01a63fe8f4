package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/10ex/flows/internal/trace"
)

// tracing is what the settings of OpenTelemetry say. Their names and meanings are
// OpenTelemetry's; those that are not listed change nothing.
type tracing struct {
	Disabled bool
	Exporter string // empty: otlp if there is an endpoint
	All      otlp   // for all signals
	Traces   otlp   // for traces, and counts more

	Service       string
	Attributes    map[string]string
	Sampler       trace.Sampler
	Ratio         float64
	IgnoreCallers bool
	Delay         time.Duration
	ExportTimeout time.Duration
	Queue         int
	Batch         int
}

// otlp says how spans are sent.
type otlp struct {
	Endpoint    string
	Headers     map[string]string
	Timeout     time.Duration
	Compression string
	CA          string // paths of files
	Cert, Key   string
}

// on tells whether spans are made.
func (t tracing) on() bool {
	return !t.Disabled && t.Exporter != "none" && (t.Exporter == "otlp" || t.endpoint() != "")
}

// endpoint is the whole address, empty for the usual one. What is set for all
// signals is where each has a path of its own.
func (t tracing) endpoint() string {
	if t.Traces.Endpoint != "" || t.All.Endpoint == "" {
		return t.Traces.Endpoint
	}
	return strings.TrimRight(t.All.Endpoint, "/") + "/v1/traces"
}

// tlsConfig reads the files that are named. It is nil if there are none.
func (t tracing) tlsConfig() (*tls.Config, error) {
	ca, cert, key := cmp.Or(t.Traces.CA, t.All.CA), cmp.Or(t.Traces.Cert, t.All.Cert), cmp.Or(t.Traces.Key, t.All.Key)
	if ca == "" && cert == "" && key == "" || !strings.HasPrefix(t.endpoint(), "https:") {
		return nil, nil //nolint:nilnil // there are none
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca) //nolint:gosec // G304: whoever runs the program names it
		c.RootCAs = x509.NewCertPool()
		if err != nil || !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE is %q: it must be %s", ca, pemFile)
		}
	}
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE is %q and OTEL_EXPORTER_OTLP_CLIENT_KEY %q: "+
				"they must be paths of a certificate in PEM and of its key", cert, key)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// config is what the tracer is made with.
func (t tracing) config() (trace.Config, error) {
	files, err := t.tlsConfig()
	if err != nil {
		return trace.Config{}, err
	}
	headers := t.All.Headers
	if t.Traces.Headers != nil {
		headers = t.Traces.Headers
	}
	return trace.Config{
		Endpoint: t.endpoint(), Headers: headers, TLS: files,
		Timeout:      cmp.Or(t.Traces.Timeout, t.All.Timeout),
		Uncompressed: cmp.Or(t.Traces.Compression, t.All.Compression) == "none",
		Sampler:      t.Sampler, Ratio: t.Ratio, IgnoreCallers: t.IgnoreCallers,
		Service: t.Service, Version: version, Attributes: t.Attributes,
		Delay: t.Delay, ExportTimeout: t.ExportTimeout, Queue: t.Queue, Batch: t.Batch,
	}, nil
}

const pemFile = "the path of a file with certificates in PEM"

// tracingSettings lists the variables of OpenTelemetry that are read.
func tracingSettings() []setting {
	list := []setting{
		{
			name: "OTEL_SDK_DISABLED", initial: "false", allowed: "true or false", does: "whether nothing is traced whatever else is set",
			parseSet: func(c *config, v string) error { return boolean(&c.Tracing.Disabled, v) },
		},
		{
			name: "OTEL_TRACES_EXPORTER", allowed: "otlp or none",
			does:     "whether spans are sent: otlp where an endpoint is set, else none",
			parseSet: func(c *config, v string) error { return oneWord(&c.Tracing.Exporter, v, "otlp", "none") },
		},
	}
	list = append(list, otlpSettings("OTEL_EXPORTER_OTLP_", "", func(c *config) *otlp { return &c.Tracing.All })...)
	list = append(list, otlpSettings("OTEL_EXPORTER_OTLP_TRACES_", ", for traces alone", func(c *config) *otlp { return &c.Tracing.Traces })...)
	return append(list,
		setting{
			name: "OTEL_SERVICE_NAME", allowed: "any name", does: "the name of the service in the tracing tool; flows where none is set",
			parseSet: func(c *config, v string) error {
				c.Tracing.Service = v
				return nil
			},
		},
		setting{
			name: "OTEL_RESOURCE_ATTRIBUTES", allowed: "KEY=VALUE,KEY=VALUE with values percent-encoded", does: "what else the tracing tool is told of a process",
			parseSet: func(c *config, v string) error { return pairs(&c.Tracing.Attributes, v) },
		},
		setting{
			name: "OTEL_TRACES_SAMPLER", initial: string(trace.ParentBasedAlwaysOn), allowed: samplerWords(),
			does: "which traces are kept; the ones based on parents obey the traceparent of a request",
			parseSet: func(c *config, v string) error {
				return oneWord(&c.Tracing.Sampler, trace.Sampler(v), trace.Samplers...)
			},
		},
		setting{
			name: "OTEL_TRACES_SAMPLER_ARG", initial: "1", allowed: "a number from 0 to 1", does: "the part of traces that the samplers by ratio keep",
			parseSet: func(c *config, v string) (err error) {
				c.Tracing.Ratio, err = strconv.ParseFloat(v, 64)
				if err != nil || math.IsNaN(c.Tracing.Ratio) || c.Tracing.Ratio < 0 || c.Tracing.Ratio > 1 {
					return errNotAllowed
				}
				return nil
			},
		},
		setting{
			name: "OTEL_PROPAGATORS", initial: "tracecontext,baggage", allowed: "tracecontext and baggage, separated by commas, or none",
			does: "whether traceparent is obeyed and sent; baggage is not passed on",
			parseSet: func(c *config, v string) error {
				obeys := false
				for one := range strings.SplitSeq(v, ",") {
					one = strings.TrimSpace(one)
					if !slices.Contains([]string{"tracecontext", "baggage", "none"}, one) || one == "none" && v != "none" {
						return errNotAllowed
					}
					obeys = obeys || one == "tracecontext"
				}
				c.Tracing.IgnoreCallers = !obeys
				return nil
			},
		},
		milliseconds("OTEL_BSP_SCHEDULE_DELAY", "5000", "how long a span may wait to be sent", func(c *config) *time.Duration { return &c.Tracing.Delay }),
		milliseconds("OTEL_BSP_EXPORT_TIMEOUT", "30000", "how long sending a batch of spans may take, with repetitions",
			func(c *config) *time.Duration { return &c.Tracing.ExportTimeout }),
		setting{
			name: "OTEL_BSP_MAX_QUEUE_SIZE", initial: "2048", allowed: "a number from 1 to 1000000", does: "spans that may wait; more are dropped",
			parseSet: func(c *config, v string) error { return number(&c.Tracing.Queue, v, 1, 1_000_000) },
		},
		setting{
			name: "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", initial: "512", allowed: "a number from 1 to 100000", does: "spans that are sent at once",
			parseSet: func(c *config, v string) error { return number(&c.Tracing.Batch, v, 1, 100_000) },
		},
	)
}

// otlpSettings lists what there is both for all signals and for traces alone.
func otlpSettings(prefix, suffix string, of func(*config) *otlp) []setting {
	initial := func(v string) string { // of a variable that counts more there is none
		if suffix != "" {
			return ""
		}
		return v
	}
	path := func(name, does, allowed string, to func(*otlp) *string) setting {
		return setting{
			name: prefix + name, allowed: allowed, does: does + suffix,
			parseSet: func(c *config, v string) error {
				*to(of(c)) = v
				if _, err := os.Stat(v); err != nil {
					return errNotAllowed
				}
				return nil
			},
		}
	}
	where := "where spans are sent, without /v1/traces"
	if suffix != "" {
		where = "where spans are sent, as it is"
	}
	timeout := milliseconds(prefix+"TIMEOUT", initial("10000"), "how long one request to the collector may take"+suffix,
		func(c *config) *time.Duration { return &of(c).Timeout })
	return []setting{
		{
			name: prefix + "ENDPOINT", allowed: "http://HOST:PORT or https://HOST:PORT, with or without a path", does: where,
			parseSet: func(c *config, v string) error {
				of(c).Endpoint = v
				u, err := url.Parse(v)
				if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
					return errNotAllowed
				}
				return nil
			},
		},
		{
			name: prefix + "PROTOCOL", initial: initial("http/protobuf"), allowed: "http/protobuf", does: "how spans are sent" + suffix,
			parseSet: func(_ *config, v string) error { return oneWord(new(string), v, "http/protobuf") },
		},
		{
			name: prefix + "HEADERS", allowed: "KEY=VALUE,KEY=VALUE with values percent-encoded", secret: true,
			does:     "headers that are sent to the collector, such as its key" + suffix,
			parseSet: func(c *config, v string) error { return pairs(&of(c).Headers, v) },
		},
		timeout,
		{
			name: prefix + "COMPRESSION", initial: initial("gzip"), allowed: "gzip or none", does: "how spans are packed" + suffix,
			parseSet: func(c *config, v string) error { return oneWord(&of(c).Compression, v, "gzip", "none") },
		},
		path("CERTIFICATE", "the authorities the collector's certificate may come from", pemFile, func(o *otlp) *string { return &o.CA }),
		path("CLIENT_CERTIFICATE", "the certificate shown to the collector", pemFile, func(o *otlp) *string { return &o.Cert }),
		path("CLIENT_KEY", "the key of the certificate shown to the collector", "the path of a file with a key in PEM", func(o *otlp) *string { return &o.Key }),
	}
}

func milliseconds(name, initial, does string, of func(*config) *time.Duration) setting {
	return setting{
		name: name, initial: initial, allowed: "milliseconds, from 1 to 3600000", does: does,
		parseSet: func(c *config, v string) error {
			var n int
			err := number(&n, v, 1, 3_600_000)
			*of(c) = time.Duration(n) * time.Millisecond
			return err
		},
	}
}

func samplerWords() string {
	names := make([]string, len(trace.Samplers))
	for i, s := range trace.Samplers {
		names[i] = string(s)
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

func oneWord[S ~string](to *S, v S, allowed ...S) error {
	if !slices.Contains(allowed, v) {
		return errNotAllowed
	}
	*to = v
	return nil
}

var pairName = regexp.MustCompile(`^[A-Za-z0-9!#$&'*+.^_|~-]+$`)

// pairs reads KEY=VALUE,KEY=VALUE.
func pairs(to *map[string]string, v string) error {
	found := map[string]string{}
	for one := range strings.SplitSeq(v, ",") {
		name, value, ok := strings.Cut(one, "=")
		name = strings.TrimSpace(name)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil || !pairName.MatchString(name) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return errNotAllowed
		}
		found[name] = value
	}
	*to = found
	return nil
}
