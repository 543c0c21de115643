package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tollgate/tollgate/cmd/tollgate/queries"
	"github.com/tollgate/tollgate/cmd/tollgate/settings"
	"github.com/tollgate/tollgate/cmd/tollgate/sheet"
	"github.com/tollgate/tollgate/internal/dial"
	"github.com/tollgate/tollgate/internal/redact"
	"github.com/tollgate/tollgate/llm/price"
)

// answerBytesMax bounds what the command line reads of one answer that is not a stream.
const answerBytesMax = 256 << 20

// operator speaks the admin API for the command line: to the running gateway over its socket, or to the files themselves
// when none runs.
type operator struct {
	http    *http.Client // nil: handler
	handler http.Handler
	close   func() error
}

// operate finds out which gateway is meant and how it can be spoken to.
func (o *options) operate(ctx context.Context) (*operator, error) {
	src, err := o.source()
	if err != nil {
		return nil, err
	}
	data := src.Resolve(orDefault(src.Data, settings.DefaultData))
	client := dial.Admin.Client("unix:" + filepath.Join(data, socketFile))
	running := &operator{http: client, close: func() error { client.CloseIdleConnections(); return nil }}
	err = running.get(ctx, "/healthz", nil)
	if err == nil {
		return running, nil
	}
	var unreached *dial.Error
	if !errors.As(err, &unreached) {
		return nil, fmt.Errorf("the running gateway does not answer on its socket: %w", err)
	}
	return offline(ctx, src)
}

// source is the config file that is meant; without one, what the starter would use.
func (o *options) source() (*settings.Source, error) {
	path, err := settings.Find(o.config)
	if err != nil {
		return nil, err
	}
	if path != "" {
		return settings.Read(path)
	}
	dir, err := stateDir()
	if err != nil {
		return nil, err
	}
	return &settings.Source{Name: "starter", Dir: dir, File: settings.File{Version: 1, Data: dir}}, nil
}

func orDefault(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// prepared reads what src means for a command. Secrets of the config are not looked for: no call is made.
func prepared(src *settings.Source) (*settings.Setup, *price.Catalog, error) {
	src.WithoutSecrets = true
	catalog, err := price.Embedded()
	if err != nil {
		return nil, nil, err
	}
	s, err := settings.Prepare(src, catalog)
	return s, catalog, err
}

// offline opens ledger and keys.
func offline(ctx context.Context, src *settings.Source) (*operator, error) {
	s, catalog, err := prepared(src)
	if err != nil {
		return nil, err
	}
	p := &process{version: version(), log: slog.New(slog.DiscardHandler), mask: &redact.Mask{}, catalog: catalog, wait: lockWait}
	p.setup.Store(s)
	undo := func() error { return p.close(context.WithoutCancel(ctx)) }
	for _, step := range []func(context.Context) error{p.openDatabase, p.openLedger, p.openPayloads, p.openSinks, p.openProof, p.openKeys} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, undo())
		}
	}
	mux := http.NewServeMux()
	p.apiRoutes(mux)
	return &operator{handler: mux, close: undo}, nil
}

func (op *operator) get(ctx context.Context, path string, answer any) error {
	return op.do(ctx, http.MethodGet, path, nil, answer)
}

func (op *operator) post(ctx context.Context, path string, body, answer any) error {
	return op.do(ctx, http.MethodPost, path, body, answer)
}

// do asks the admin API and decodes its answer; a problem it tells is the error.
func (op *operator) do(ctx context.Context, method, path string, body, answer any) error {
	b, err := op.stream(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer b.Close()
	if answer == nil {
		return nil
	}
	return json.NewDecoder(io.LimitReader(b, answerBytesMax)).Decode(answer)
}

// stream asks the admin API and returns its answer as it comes.
func (op *operator) stream(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://tollgate"+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := op.send(req)
	if err != nil {
		return nil, err
	}
	if warning := resp.Header.Get(queries.WarningHeader); warning != "" {
		fmt.Fprintln(os.Stderr, "warning:", sheet.Printable(warning))
	}
	if resp.StatusCode < 300 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var problem struct{ Detail string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, answerBytesMax)).Decode(&problem); err != nil || problem.Detail == "" {
		return nil, fmt.Errorf("the gateway answered %s", strings.ToLower(resp.Status))
	}
	return nil, errors.New(problem.Detail)
}

func (op *operator) send(req *http.Request) (*http.Response, error) {
	if op.http != nil {
		return op.http.Do(req)
	}
	r, w := io.Pipe()
	answer := &piped{header: http.Header{}, body: w, begun: make(chan int, 1)}
	go func() {
		defer func() {
			if cut := recover(); cut != nil && cut != http.ErrAbortHandler {
				panic(cut)
			} else if cut != nil {
				_ = w.CloseWithError(io.ErrUnexpectedEOF)
			}
		}()
		op.handler.ServeHTTP(answer, req)
		answer.WriteHeader(http.StatusOK)
		_ = w.Close()
	}()
	status := <-answer.begun
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Header: answer.header, Body: r}, nil
}

// piped is the writer of an answer that is read in the same process.
type piped struct {
	header http.Header
	body   *io.PipeWriter
	begun  chan int // gets the status, once
	wrote  bool
}

func (p *piped) Header() http.Header { return p.header }

func (p *piped) WriteHeader(status int) {
	if !p.wrote {
		p.wrote = true
		p.begun <- status
	}
}

func (p *piped) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	return p.body.Write(b)
}

// Flush does nothing: a pipe keeps nothing back.
func (p *piped) Flush() {}

// SetReadDeadline does nothing: the request is in memory.
func (p *piped) SetReadDeadline(time.Time) error { return nil }
