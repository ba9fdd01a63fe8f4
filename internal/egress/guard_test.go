package egress

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// forbidden are spellings of addresses that must never be reached. NAME stands
// for a name whose only address is given behind the arrow.
var forbidden = []string{
	// loopback
	"http://127.0.0.1/", "http://127.0.0.1:8080/", "https://127.0.0.1/", "http://127.1.2.3/", "http://127.255.255.254/",
	"http://[::1]/", "http://[0:0:0:0:0:0:0:1]/", "http://[0000::0001]:80/", "http://localhost/", "http://localhost./",
	"http://LOCALHOST:6379/", "http://LocalHost./",
	// other ways to write 127.0.0.1
	"http://2130706433/", "http://2130706433./", "http://0x7f000001/", "http://0X7F000001/", "http://017700000001/",
	"http://0x7f.0x0.0x0.0x1/", "http://0177.0.0.1/", "http://0177.0.0.01/", "http://127.1/", "http://127.0.1/",
	"http://0x7f.1/", "http://127.0.0.0x1/", "http://127.0.0.1./", "http://00000127.0.0.1/", "http://127.000.000.001/",
	"http://0x/", "http://4294967296/", "http://18446744073709551617/",
	// wide digits and dots that IDNA folds to plain ones
	"http://１２７.０.０.１/", "http://127。0。0。1/", "http://①②⑦.⓪.⓪.①/", "http://２１３０７０６４３３/", "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
	"http://127．0．0．1/", "http://127｡0｡0｡1/", "http://١٢٧.٠.٠.١/", "http://𝟭𝟮𝟳.𝟬.𝟬.𝟭/", "http://¹²⁷.⁰.⁰.¹/",
	"http://local\u00adhost/", "http://local\u200bhost/", "http://127.0.0.1\u200b/", "http://127.0.0\u2024\u0031/",
	// written with percent signs, backslashes and what stands for the end of a host elsewhere
	"http://127%2e0%2e0%2e1/", "http://%6c%6f%63%61%6c%68%6f%73%74/", "http://127.0.0.1%00/", "http://127.0.0.1%20/", "http://example.com%2f@127.0.0.1/",
	`http://example.com\@127.0.0.1/`, `http://127.0.0.1\.example.com/`, "http://127.0.0.1;example.com/",
	// unspecified and "this network"
	"http://0.0.0.0/", "http://0/", "http://0.1.2.3/", "http://[::]/", "http://[::0]:9000/", "http://00/",
	// private
	"http://10.0.0.1/", "http://10.255.255.255/", "http://172.16.0.1/", "http://172.31.255.255/", "http://192.168.0.1/",
	"http://192.168.1.1:8443/", "http://0xc0a80001/", "http://3232235521/", "http://[fc00::1]/", "http://[fd12:3456:789a::1]/",
	// link-local and cloud metadata
	"http://169.254.169.254/latest/meta-data/", "http://169.254.0.1/", "http://2852039166/", "http://0xa9fea9fe/",
	"http://0251.0376.0251.0376/", "http://[fe80::1]/", "http://[fe80::1%25lo]/", "http://[fd00:ec2::254]/", "http://[febf::1]/",
	// IPv4 inside IPv6: mapped, compatible, translated, NAT64, 6to4, Teredo
	"http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::ffff:10.0.0.1]/", "http://[::ffff:169.254.169.254]/",
	"http://[0:0:0:0:0:ffff:a9fe:a9fe]/", "http://[::127.0.0.1]/", "http://[::7f00:1]/", "http://[::ffff:0:127.0.0.1]/",
	"http://[64:ff9b::127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://[64:ff9b::a9fe:a9fe]/", "http://[64:ff9b:1::10.0.0.1]/",
	"http://[::ffff:127.0.0.1%25lo]/", "http://[::1%25lo]/", "http://[0:0:0:0:0:ffff:127.0.0.1]/", "http://[::FFFF:7F00:0001]/", "http://[::ffff:0x7f.0.0.1]/",
	"http://[::ffff:0177.0.0.1]/", "http://[::ffff:2130706433]/", "http://[fe80::5efe:127.0.0.1]/", "http://[64:ff9b::0a00:0001]/", "http://[64:ff9b:1:fffe::7f00:1]/",
	"http://[2002:a00:1::1]/", "http://[2002:c0a8:101::]/", "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "http://[127.0.0.1]/", "http://[localhost]/",
	"http://[2002:7f00:1::]/", "http://[2002:a9fe:a9fe::1]/", "http://[2001:0:7f00:1::]/",
	// shared, test, benchmark, relay, reserved, multicast, broadcast
	"http://100.64.0.1/", "http://100.127.255.255/", "http://192.0.0.1/", "http://192.0.0.170/", "http://192.0.2.1/",
	"http://198.18.0.1/", "http://198.19.255.255/", "http://198.51.100.1/", "http://203.0.113.1/", "http://192.88.99.1/",
	"http://224.0.0.1/", "http://239.255.255.250/", "http://240.0.0.1/", "http://255.255.255.255/",
	"http://[2001:db8::1]/", "http://[3fff::1]/", "http://[100::1]/", "http://[ff02::1]/", "http://[fec0::1]/", "http://[5f00::1]/",
	// a user name that looks like the host
	"http://example.com@127.0.0.1/", "http://127.0.0.1@example.com/", "http://user:word@10.0.0.1/", "http://example.com:80@[::1]/",
	// other schemes
	"file:///etc/passwd", "ftp://example.com/", "gopher://127.0.0.1:6379/_INFO", "dict://127.0.0.1:11211/", "unix:///run/docker.sock",
	"data:text/plain,hi", "javascript:alert(1)", "//127.0.0.1/", "127.0.0.1", "",
	// names that resolve to forbidden addresses
	"http://loopback.test/", "http://loopback.test./", "http://private.test/", "http://metadata.test/", "http://six.test/",
	"http://mapped.test/", "http://nat64.test/", "http://both.test/", "http://six-to-four.test/", "http://nothing.test/", "http://LOOPBACK.TEST./", "http://foo.localhost/",
	// forms that are no address at all
	"http:///path", "http://:80/", "http://.../", "http://[::1/", "http://127.0.0.1%2f@example.com/", "http://exa mple.com/",
	"http://%31%32%37.0.0.1/", "http://example.com\r\nhost:127.0.0.1/",
}

func TestForbiddenAddressesAreNeverDialled(t *testing.T) {
	t.Parallel()
	require.GreaterOrEqual(t, len(forbidden), 150)
	dns := serveDNS(t, map[string]func() []string{
		"loopback.test.":    always("127.0.0.1"),
		"private.test.":     always("10.1.2.3"),
		"metadata.test.":    always("169.254.169.254"),
		"six.test.":         always("::1"),
		"mapped.test.":      always("::ffff:192.168.0.1"),
		"nat64.test.":       always("64:ff9b::a00:1"),
		"both.test.":        always("10.0.0.1", "fd00::1"),
		"foo.localhost.":    always("127.0.0.1"),
		"six-to-four.test.": always("2002:7f00:1::1"),
		"nothing.test.":     always("0.0.0.0"),
		"localhost.":        always("127.0.0.1"),
	})
	c := newClient(t, Config{Resolver: dns, ConnectTimeout: 2 * time.Second})

	for _, address := range forbidden {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			u, err := ParseURL(address)
			if err != nil {
				requireNoAddress(t, err, address)
				return
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.String(), nil)
			require.NoError(t, err)
			resp, err := c.Do(req)
			if err == nil {
				resp.Body.Close()
			}
			var blocked *BlockedError
			require.ErrorAs(t, err, &blocked)
			require.Equal(t, error(blocked), err, "nothing may be wrapped around it: that would tell the resolved address")
			requireNoAddress(t, err, address)
		})
	}
}

func TestPublicAddressesPassTheGuard(t *testing.T) {
	t.Parallel()
	d := newDialer(Config{}, time.Second)
	for _, address := range []string{"93.184.215.14:443", "1.1.1.1:80", "172.32.0.1:8080", "100.128.0.1:1", "[2606:4700::1111]:443"} {
		network := "tcp4"
		if strings.HasPrefix(address, "[") {
			network = "tcp6"
		}
		require.NoError(t, d.net.Control(network, address, nil), address)
	}
	for _, host := range []string{"example.com", "example.com.", "1.example", "0x.example", "a1", "x0x7f", "3com.net", "1.1.1.1", "2606:4700::1111", "my_host.example", "xn--bcher-kva.example", "fe80::1%lo"} {
		require.False(t, disguised(host), host)
	}
}

func TestANameThatChangesItsAddressIsStillRefused(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(srv.Close)
	var asked atomic.Int32
	dns := serveDNS(t, map[string]func() []string{
		"rebind.test.": func() []string {
			if asked.Add(1) <= 1 {
				return []string{"93.184.215.14"}
			}
			return []string{"127.0.0.1"}
		},
	})
	c := newClient(t, Config{Resolver: dns})

	// What a check ahead of the request would have seen.
	first, err := dns.LookupNetIP(t.Context(), "ip4", "rebind.test.")
	require.NoError(t, err)
	require.Equal(t, []netip.Addr{netip.MustParseAddr("93.184.215.14")}, first)

	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	require.NoError(t, err)
	_, err = get(t, c, "http://rebind.test.:"+port+"/")
	var blocked *BlockedError
	require.ErrorAs(t, err, &blocked)
	require.Zero(t, reached.Load())
}

func TestEveryAddressOfANameIsJudged(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(srv.Close)
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	require.NoError(t, err)
	// The first address is allowed and nobody listens there; the second is not, and
	// somebody does.
	dns := serveDNS(t, map[string]func() []string{"two.test.": always("127.0.0.9", "127.0.0.1")})
	c := newClient(t, Config{Resolver: dns, ConnectTimeout: 2 * time.Second, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}})
	_, err = get(t, c, "http://two.test:"+port+"/")
	require.Error(t, err)
	require.Zero(t, reached.Load())
}

// redirected are places that a server must not be able to send a request to.
var redirected = []string{
	"http://10.0.0.1/", "http://192.168.0.1/", "http://169.254.169.254/latest/meta-data/", "http://127.0.0.2/", "http://0.0.0.0/",
	"http://2130706434/", "http://0x7f.2/", "http://0177.0.0.2/", "http://127.2/", "http://127.0.0.2./", "http://127。0。0。2/", "//10.0.0.1/",
	"http://[::1]/", "http://[fd00:ec2::254]/", "http://[64:ff9b::a9fe:a9fe]/", "http://[2002:a00:1::1]/", "http://[::ffff:10.0.0.1]/", "http://[fe80::1%25lo]/",
	"http://private.test/", "http://metadata.test/", "http://six.test/", "http://rebind.test/",
	"http://example.com@10.0.0.1/", "file:///etc/passwd", "gopher://10.0.0.1/", `http://example.com\@10.0.0.1/`,
}

func TestRedirectsToForbiddenPlacesAreRefused(t *testing.T) {
	t.Parallel()
	dns := serveDNS(t, map[string]func() []string{
		"private.test.": always("10.1.2.3"), "metadata.test.": always("169.254.169.254"), "six.test.": always("::1"), "rebind.test.": always("127.0.0.3"),
	})
	c := newClient(t, Config{Resolver: dns, ConnectTimeout: 2 * time.Second, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect} {
		for _, place := range redirected {
			t.Run(place, func(t *testing.T) {
				t.Parallel()
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Location", place)
					w.WriteHeader(status)
				}))
				t.Cleanup(srv.Close)
				_, err := get(t, c, srv.URL)
				require.Error(t, err)
				for _, secret := range []string{"10.", "169.254", "::1", "dial", "lookup", "passwd"} {
					require.NotContains(t, err.Error(), secret)
				}
			})
		}
	}
}

func TestAllowedNetworksOpenNothingElse(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("in")) }))
	t.Cleanup(srv.Close)
	c := newClient(t, Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})

	body, err := get(t, c, srv.URL)
	require.NoError(t, err)
	require.Equal(t, "in", body)
	var blocked *BlockedError
	_, err = get(t, c, strings.Replace(srv.URL, "127.0.0.1", "127.0.0.2", 1))
	require.ErrorAs(t, err, &blocked)
	_, err = get(t, c, strings.Replace(srv.URL, "127.0.0.1", "[::1]", 1))
	require.ErrorAs(t, err, &blocked)
}

func TestAllowPrivateKeepsTheOtherRules(t *testing.T) {
	t.Parallel()
	c := newClient(t, Config{AllowPrivate: true})
	for _, address := range []string{"file:///etc/passwd", "ftp://127.0.0.1/", "http://user:word@127.0.0.1/"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		require.NoError(t, err)
		resp, err := c.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		var blocked *BlockedError
		require.ErrorAs(t, err, &blocked, address)
	}
}

func requireNoAddress(t *testing.T, err error, address string) {
	t.Helper()
	for _, secret := range []string{"127.0.0.1", "169.254", "10.", "::1", "dial", "lookup"} {
		require.NotContains(t, err.Error(), secret)
	}
	if address != "" {
		require.NotContains(t, err.Error(), address)
	}
}

func always(addrs ...string) func() []string { return func() []string { return addrs } }

// serveDNS answers A and AAAA questions about names on a local UDP port and
// returns a resolver that asks it.
func serveDNS(t *testing.T, names map[string]func() []string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := answerDNS(buf[:n], names); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "udp", conn.LocalAddr().String())
		},
	}
}

// answerDNS builds the reply to one question: RFC 1035, just enough of it.
func answerDNS(query []byte, names map[string]func() []string) []byte {
	const header = 12
	if len(query) < header {
		return nil
	}
	var name strings.Builder
	i := header
	for query[i] != 0 {
		size := int(query[i])
		name.Write(query[i+1 : i+1+size])
		name.WriteByte('.')
		i += size + 1
	}
	question := query[header : i+5]
	qtype := binary.BigEndian.Uint16(query[i+1:])

	var records []byte
	count := 0
	addresses, known := names[strings.ToLower(name.String())]
	if known && qtype == 1 || known && qtype == 28 {
		for _, s := range addresses() {
			data := netip.MustParseAddr(s).AsSlice()
			if (len(data) == 4) != (qtype == 1) {
				continue
			}
			records = append(records, 0xc0, header, 0, byte(qtype), 0, 1, 0, 0, 0, 0, 0, byte(len(data)))
			records = append(records, data...)
			count++
		}
	}
	flags := []byte{0x81, 0x80}
	if !known {
		flags[1] |= 3 // no such name
	}
	reply := append([]byte{query[0], query[1], flags[0], flags[1], 0, 1, 0, byte(count), 0, 0, 0, 0}, question...)
	return append(reply, records...)
}

func TestDialMeetsTheSameRules(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	strict, open := newClient(t, Config{}), newClient(t, Config{AllowPrivate: true})
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	for _, host := range []string{"127.0.0.1", "localhost", "2130706433", "0x7f.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "10.0.0.1"} {
		_, err := strict.Dial(t.Context(), net.JoinHostPort(host, port))
		var blocked *BlockedError
		require.ErrorAs(t, err, &blocked, host)
		require.Equal(t, "this address is not allowed", err.Error())
	}
	_, err = strict.Dial(t.Context(), "127.0.0.1")
	require.Error(t, err)
	conn, err := open.Dial(t.Context(), l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}
