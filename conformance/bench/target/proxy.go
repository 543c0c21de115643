package target

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"time"
)

// proxyIdleConns is how many connections to the mock the proxy keeps: more than any run uses at once.
const proxyIdleConns = 2048

// ServeProxy is the ungoverned proxy: net/http on both sides, the request's body read whole, the answer copied and flushed
// as it comes. It is what tollgate would be without governing anything.
func ServeProxy(addr, mock string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	p := &proxy{upstream: mock, transport: shared()}
	return (&http.Server{Handler: p}).Serve(l)
}

// shared keeps connections to the mock.
func shared() *http.Transport {
	return &http.Transport{
		MaxIdleConns: proxyIdleConns, MaxIdleConnsPerHost: proxyIdleConns, IdleConnTimeout: time.Hour, DisableCompression: true,
	}
}

type proxy struct {
	upstream  string
	transport *http.Transport
}

// ServeHTTP implements http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == metricsPath {
		tellMallocs(w)
		return
	}
	body := make([]byte, max(0, r.ContentLength))
	if _, err := io.ReadFull(r.Body, body); err != nil {
		http.Error(w, "reading the request: "+err.Error(), http.StatusBadRequest)
		return
	}
	out, err := outgoing(r.Context(), r, p.upstream, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	resp, err := p.transport.RoundTrip(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	flow(w, resp.Body)
}

func tellMallocs(w io.Writer) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Fprintf(w, "%s %d\n", mallocsMetric, m.Mallocs)
}

func outgoing(ctx context.Context, r *http.Request, upstream string, body []byte) (*http.Request, error) {
	out, err := http.NewRequestWithContext(ctx, r.Method, "http://"+upstream+r.URL.RequestURI(), nil)
	if err != nil {
		return nil, err
	}
	out.Header = r.Header.Clone()
	out.Header.Del("Connection")
	if len(body) > 0 {
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	return out, nil
}

// flow copies what comes and sends it on at once.
func flow(w http.ResponseWriter, from io.Reader) {
	flusher, _ := w.(http.Flusher)
	chunk := make([]byte, 16<<10)
	for {
		n, err := from.Read(chunk)
		if n > 0 {
			if _, err := w.Write(chunk[:n]); err != nil {
				return
			}
			if flusher != nil {
				flusher.Flush()
			}
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler) // the client must see that the answer is not whole
		}
	}
}
