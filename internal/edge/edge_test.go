package edge

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
)

// arrive makes a request as a server would hand it on, received on local.
func arrive(local net.Addr, host string, headers ...string) *http.Request {
	r, _ := http.NewRequest(http.MethodPost, "/mcp", nil)
	r.Host = host
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
}

var (
	loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8787}
	public   = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 443}
	socket   = &net.UnixAddr{Net: "unix", Name: "admin.sock"}
	guard    = &Guard{Hosts: []string{"gate.example", "192.0.2.7"}, Origins: []string{"https://app.example", "vscode-file://vscode-app", "null"}}
)

func status(p *Problem) int {
	if p == nil {
		return 200
	}
	return p.Status
}

func TestHost(t *testing.T) {
	tests := []struct {
		local net.Addr
		host  string
		want  int
	}{
		{loopback, "127.0.0.1:8787", 200},
		{loopback, "localhost", 200},
		{loopback, "LocalHost:9", 200},
		{loopback, "[::1]:8787", 200},
		{loopback, "[::1]", 200},
		{loopback, "127.9.9.9", 200},
		{loopback, "[::ffff:127.0.0.1]:80", 200},
		{socket, "localhost", 200},
		{loopback, "gate.example", 200},
		{public, "gate.example", 200},
		{public, "Gate.Example:443", 200},
		{public, "192.0.2.7:443", 200},
		{public, "localhost", 403}, // from elsewhere: a loopback name is somebody's trick
		{nil, "localhost", 403},
		{loopback, "evil.example:8787", 403}, // rebinding: the name of the attacker points to us
		{loopback, "localhost.evil.example", 403},
		{loopback, "evil.example@localhost", 403},
		{loopback, "localhost:80:90", 403},
		{loopback, "localhost:", 403},
		{loopback, "localhost:80a", 403},
		{loopback, "localhost.", 403},
		{loopback, "2130706433", 403},
		{loopback, "0x7f.1", 403},
		{loopback, "::1", 403},
		{loopback, "[::1", 403},
		{loopback, "[::1%25lo0]", 403},
		{loopback, "[127.0.0.1]", 403},
		{loopback, "0.0.0.0:8787", 403},
		{loopback, "", 403},
	}
	for _, test := range tests {
		if got := status(guard.Check(arrive(test.local, test.host))); got != test.want {
			t.Errorf("Host %q on %v: %d, want %d", test.host, test.local, got, test.want)
		}
	}
}

func TestOrigin(t *testing.T) {
	tests := []struct {
		local        net.Addr
		host, origin string
		want         int
	}{
		{loopback, "localhost:8787", "http://localhost:8787", 200},
		{loopback, "localhost:8787", "http://localhost:5173", 200}, // a page of the developer
		{loopback, "127.0.0.1:8787", "http://[::1]:3000", 200},
		{loopback, "localhost:8787", "https://app.example", 200},
		{public, "gate.example", "https://gate.example", 200}, // our own page
		{public, "gate.example:443", "https://gate.example", 200},
		{public, "gate.example", "vscode-file://vscode-app", 200},
		{public, "gate.example", "HTTPS://APP.example", 200},
		{public, "gate.example", "http://localhost:3000", 403}, // a page on the caller's machine, the gateway elsewhere
		{loopback, "gate.example", "http://localhost:3000", 403},
		{loopback, "localhost:8787", "https://evil.example", 403},
		{loopback, "localhost:8787", "null", 403}, // also when somebody listed it
		{loopback, "localhost:8787", "", 403},
		{loopback, "localhost:8787", "http://localhost.evil.example", 403},
		{loopback, "localhost:8787", "http://evil.example@localhost", 403},
		{loopback, "localhost:8787", "http://localhost:1/x", 403},
		{loopback, "localhost:8787", "chrome-extension://localhost", 403},
		{public, "gate.example", "https://gate.example:8443", 403},
		{public, "gate.example", "https://app.example.evil.example", 403},
		{public, "gate.example", "https://app.example ", 403},
	}
	for _, test := range tests {
		if got := status(guard.Check(arrive(test.local, test.host, "Origin", test.origin))); got != test.want {
			t.Errorf("Origin %q, Host %q: %d, want %d", test.origin, test.host, got, test.want)
		}
	}
}

func TestHeaders(t *testing.T) {
	tests := []struct {
		name    string
		headers []string
		want    int
		text    string
	}{
		{"none", nil, 200, ""},
		{"bearer", []string{"Authorization", "bearer k1"}, 200, ""},
		{"the same twice", []string{"Authorization", "Bearer k1", "X-Api-Key", "k1", "X-Goog-Api-Key", " k1 "}, 200, ""},
		{"empty ones", []string{"Authorization", "", "X-Api-Key", "", "Api-Key", "k1"}, 200, ""},
		{"two different", []string{"Authorization", "Bearer k1", "X-Api-Key", "k2"}, 400, "two different credentials"},
		{"two Authorization", []string{"Authorization", "Bearer k1", "Authorization", "Bearer k1"}, 400, "Authorization once"},
		{"two X-Api-Key", []string{"X-Api-Key", "k1", "X-Api-Key", "k2"}, 400, "X-Api-Key once"},
		{"basic", []string{"Authorization", "Basic azE6"}, 401, "Bearer KEY"},
		{"no scheme", []string{"Authorization", "k1"}, 401, "Bearer KEY"},
		{"two origins", []string{"Origin", "http://localhost", "Origin", "http://localhost"}, 400, "one Origin"},
		{"CR", []string{"X-A", "a\rb"}, 400, "X-A"},
		{"LF", []string{"X-A", "a\nb"}, 400, "X-A"},
		{"NUL", []string{"X-A", "a\x00b"}, 400, "X-A"},
		{"gzip", []string{"Content-Encoding", "gzip"}, 415, "Content-Encoding"},
		{"identity", []string{"Content-Encoding", "identity"}, 200, ""},
		{"forwarded host", []string{"X-Forwarded-Host", "evil.example", "Forwarded", "host=evil.example", "X-Forwarded-For", "127.0.0.1"}, 200, ""},
	}
	for _, test := range tests {
		p := guard.Check(arrive(loopback, "localhost", test.headers...))
		if status(p) != test.want || p != nil && !strings.Contains(p.Text, test.text) {
			t.Errorf("%s: %v, want %d %q", test.name, p, test.want, test.text)
		}
		if p != nil && (strings.Contains(p.Text, "k1") || strings.Contains(p.Text, "azE6")) {
			t.Errorf("%s: the refusal quotes a credential: %s", test.name, p.Text)
		}
	}
}

func TestForwardedHostIsNotBelieved(t *testing.T) {
	p := guard.Check(arrive(public, "evil.example", "X-Forwarded-Host", "gate.example", "Forwarded", "host=gate.example"))
	if status(p) != http.StatusForbidden {
		t.Errorf("%v", p)
	}
}

func TestGuardWithoutHostsRefusesAllButLoopback(t *testing.T) {
	var g Guard
	if p := g.Check(arrive(public, "192.0.2.7")); status(p) != http.StatusForbidden {
		t.Errorf("%v", p)
	}
	if p := g.Check(arrive(loopback, "localhost")); p != nil {
		t.Errorf("%v", p)
	}
}

func TestCredentialForms(t *testing.T) {
	for _, header := range []string{"Authorization", "x-api-key", "api-key", "x-goog-api-key", "x-tollgate-key", "x-bf-vk"} {
		value := "tg_sk_x"
		if header == "Authorization" {
			value = "Bearer " + value
		}
		r := arrive(loopback, "localhost", header, value)
		if got, p := Credential(r.Header); got != "tg_sk_x" || p != nil {
			t.Errorf("%s: %q, %v", header, got, p)
		}
	}
}

func TestSourceIgnoresWhatClientsClaim(t *testing.T) {
	for addr, want := range map[string]string{"192.0.2.1:5000": "192.0.2.1", "[2001:db8::1]:80": "2001:db8::1", "@": "@"} {
		r := arrive(loopback, "localhost", "X-Forwarded-For", "203.0.113.9", "X-Real-Ip", "203.0.113.9")
		if r.RemoteAddr = addr; Source(r) != want {
			t.Errorf("%s: %s", addr, Source(r))
		}
	}
}

func FuzzSplitHost(f *testing.F) {
	for _, s := range []string{"", "localhost", "[::1]:80", "a:1", "[::ffff:127.0.0.1%lo]", "a@b:80", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, hostport string) {
		host, ok := splitHost(hostport)
		if ok && (host == "" || strings.ToLower(host) != host || strings.ContainsAny(host, "@/[] \r\n\x00")) {
			t.Errorf("%q gives host %q", hostport, host)
		}
		if ok && !strings.Contains(strings.ToLower(hostport), host) {
			t.Errorf("%q gives host %q", hostport, host)
		}
	})
}

func FuzzCredential(f *testing.F) {
	f.Add("Bearer a", "a", "")
	f.Add("bearer  a ", "b", "\t")
	f.Add("Basic x", "", "x")
	f.Fuzz(func(t *testing.T, authorization, xAPIKey, goog string) {
		h := http.Header{"Authorization": {authorization}, "X-Api-Key": {xAPIKey}, "X-Goog-Api-Key": {goog}}
		got, p := Credential(h)
		if p != nil {
			if got != "" || p.Status != 400 && p.Status != 401 {
				t.Errorf("%v: %q, %v", h, got, p)
			}
			return
		}
		for _, sent := range []string{xAPIKey, goog} {
			if sent = strings.TrimSpace(sent); sent != "" && sent != got {
				t.Errorf("%v: %q passes over %q", h, got, sent)
			}
		}
		if got != strings.TrimSpace(got) {
			t.Errorf("%q", got)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	r := arrive(loopback, "127.0.0.1:8787", "Authorization", "Bearer tg_sk_4zZ0", "Content-Type", "application/json", "Accept", "*/*",
		"User-Agent", "OpenAI/Python 2.1.0", "X-Stainless-Lang", "python", "X-Stainless-Runtime-Version", "3.12.3", "Accept-Encoding", "gzip")
	b.ReportAllocs()
	for b.Loop() {
		if p := guard.Check(r); p != nil {
			b.Fatal(p)
		}
	}
}
