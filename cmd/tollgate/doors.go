package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"github.com/tollgate/tollgate/cmd/tollgate/standby"
	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/peer"
	"github.com/tollgate/tollgate/llm"
)

// The limits of connections from outside.
const (
	headerTime      = 5 * time.Second
	idleTime        = 2 * time.Minute
	headerBytesMax  = 32 << 10
	connectionsMax  = 16384 // open at once on the agents' listener
	adminConnsMax   = 64
	stdioConnsMax   = 1024 // processes of clients
	socketPathBytes = 100  // the kernel takes 107
)

// doors are the listeners: agents, operators over TCP, and over socket files the command line and the processes that
// clients have spawned.
type doors struct {
	agents, admin, socket, stdio *door
}

// door is a listener. What is behind it may come later than the listener itself.
type door struct {
	net.Listener
	server *http.Server
	*standby.Door
}

// openDoors serves agents and operators over the network.
func (p *process) openDoors(ctx context.Context) error {
	if err := p.listenEarly(ctx); err != nil {
		return err
	}
	token, err := adminToken(p.file(tokenFile))
	if err != nil {
		return err
	}
	p.serve(p.doors.agents, p.agentRoutes())
	if p.doors.admin != nil {
		p.serve(p.doors.admin, p.adminRoutes(token))
	}
	return nil
}

// listenEarly opens the listeners of openDoors, unless they are open. Until that serves at them, they say that the gateway
// is starting.
func (p *process) listenEarly(context.Context) (err error) {
	s := p.inForce()
	if p.doors.agents != nil {
		return nil
	}
	if p.doors.agents, err = p.listen("tcp", s.Listen, connectionsMax); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if s.Admin == "" {
		return nil
	}
	if p.doors.admin, err = p.listen("tcp", s.Admin, adminConnsMax); err != nil {
		return fmt.Errorf("admin.listen: %w; another address or off can be written there", err)
	}
	return nil
}

// openSockets opens the doors that only the owner of the data directory can reach. They are two, so that one can be shown
// to a container without the other.
func (p *process) openSockets(context.Context) (err error) {
	if p.doors.socket, err = p.listenFile(socketFile, p.adminRoutes(""), adminConnsMax); err != nil {
		return err
	}
	p.doors.stdio, err = p.listenFile(stdioFile, p.mcp.Stdio(), stdioConnsMax)
	return err
}

// listenFile opens a door at a socket file of the data directory; nil where its path is too long for one.
func (p *process) listenFile(name string, h http.Handler, conns int) (*door, error) {
	path := p.file(name)
	if len(path) > socketPathBytes {
		p.log.Warn("the data directory's path is too long for a socket file: commands cannot speak to this process", "path", path)
		return nil, nil
	}
	// The journal's lock is ours, so a socket file that is there is a dead process's.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("socket %s: %w", name, err)
	}
	d, err := p.listen("unix", path, conns)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", name, err)
	}
	p.serve(d, h)
	return d, os.Chmod(path, secretMode)
}

// listen opens one door, with nothing behind it.
func (p *process) listen(network, address string, conns int) (*door, error) {
	ln, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true) // some SDKs speak HTTP/2 with prior knowledge to http:// addresses
	d := &door{Listener: netutil.LimitListener(ln, conns), Door: standby.New(p.waitsFor)}
	d.server = &http.Server{
		Handler: d.Door, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: headerBytesMax,
		Protocols: protocols, ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelWarn),
	}
	go func() { _ = d.server.Serve(d.Listener) }() // ends when the server is shut down
	p.undoBy(func(context.Context) error { return d.server.Close() })
	return d, nil
}

// serve puts h behind a door. Closing it stops new requests at once and waits for those under way.
func (p *process) serve(d *door, h http.Handler) {
	d.Open(h)
	d.server.RegisterOnShutdown(p.mcp.Drain)
	d.server.RegisterOnShutdown(func() { p.draining.Store(true) })
	p.undoBy(func(ctx context.Context) error {
		if err := d.server.Shutdown(ctx); err != nil {
			_ = d.server.Close()
			return fmt.Errorf("requests were cut when the time to drain was over: %w", err)
		}
		return nil
	})
}

// agentRoutes is what agents reach.
func (p *process) agentRoutes() http.Handler {
	mux := http.NewServeMux()
	p.llm.Register(mux)
	mux.Handle("/mcp", p.mcp.Handler())
	mux.Handle("/mcp/{name}", p.mcp.Handler())
	mux.Handle("/sse", p.mcp.Handler())
	mux.Handle("/sse/{name}", p.mcp.Handler())
	if p.peers != nil {
		mux.Handle(peer.Path, p.peers.Handler(p.mcp.Handler()))
	}
	p.healthRoutes(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusNotFound, map[string]any{"error": map[string]any{
			"message": "nothing is served at this path: tools are at /mcp and /mcp/NAME (/sse for clients of 2024-11-05), models at " + strings.Join(llm.Patterns(), ", "),
			"type":    "invalid_request_error", "code": "unknown_route", "param": nil,
		}})
	})
	return mux
}

// adminRoutes is what operators reach. With a token everything but health and metrics needs it.
func (p *process) adminRoutes(token string) http.Handler {
	mux := http.NewServeMux()
	p.healthRoutes(mux)
	mux.Handle("GET /metrics", p.telemetry.Metrics)
	api := http.NewServeMux()
	p.apiRoutes(api)
	mux.Handle("/api/v1/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token != "" && !authorized(r, token) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeProblem(w, http.StatusUnauthorized, "send Authorization: Bearer with the token in "+tokenFile+" of the data directory")
			return
		}
		if problem := p.inForce().Guard.Check(r); token != "" && problem != nil {
			writeProblem(w, problem.Status, problem.Text)
			return
		}
		api.ServeHTTP(w, r)
	}))
	return mux
}

func authorized(r *http.Request, token string) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && subtle.ConstantTimeCompare([]byte(given), []byte(token)) == 1
}

// adminToken reads the token of the admin API, or makes it.
func adminToken(path string) (string, error) {
	b, err := os.ReadFile(path)
	if kept := strings.TrimSpace(string(b)); err == nil && len(kept) >= tokenBytes {
		return kept, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the admin token: %w", err)
	}
	raw := make([]byte, tokenBytes)
	_, _ = rand.Read(raw) // never fails
	token := "tg_admin_" + base64.RawURLEncoding.EncodeToString(raw)
	if err := durable.WriteFile(path, []byte(token+"\n"), secretMode); err != nil {
		return "", fmt.Errorf("writing the admin token to %s: %w", filepath.Base(path), err)
	}
	return token, nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone if it fails
}

// writeProblem answers in the form of RFC 9457.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
}
