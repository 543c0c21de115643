package sinktest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// awaitMax bounds the wait for the next entry.
const awaitMax = 20 * time.Second

// Fault is how a delivery is broken.
type Fault uint8

// The faults.
const (
	None Fault = iota
	Lost       // nothing was taken
	Kept       // all was taken, and the answer lost
)

// Log is what a receiver took, and how it is broken. All methods are safe for concurrent use.
type Log struct {
	mu       sync.Mutex
	ids      []string
	problems []string
	fault    func() Fault
	refuse   func(id string) bool
	grown    chan struct{} // closed when something is taken; nil: nobody waits
}

// Await waits until n different entries were taken, or the test is over. A receiver without acknowledgements may have what
// was delivered only later.
func (l *Log) Await(t testing.TB, n int) {
	for {
		l.mu.Lock()
		different := map[string]bool{}
		for _, id := range l.ids {
			different[id] = true
		}
		if l.grown == nil {
			l.grown = make(chan struct{})
		}
		grown := l.grown
		l.mu.Unlock()
		if len(different) >= n {
			return
		}
		select {
		case <-grown:
		case <-time.After(awaitMax):
			t.Errorf("%d of %d entries came", len(different), n)
			return
		}
	}
}

// IDs are the ids of the entries that were taken, in order, repetitions among them.
func (l *Log) IDs() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ids)
}

// Problems is what was wrong with what came.
func (l *Log) Problems() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.problems)
}

// Break sets what happens to each delivery; nil: nothing.
func (l *Log) Break(fault func() Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = fault
}

// Refuse sets which entries are refused for good; nil: none.
func (l *Log) Refuse(refuse func(id string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = refuse
}

func (l *Log) problem(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problems = append(l.problems, fmt.Sprintf(format, args...))
}

// take notes a delivery. refused is how many of it are refused: then none was taken.
func (l *Log) take(ids []string) (fault Fault, refused int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if l.refuse != nil && l.refuse(id) {
			refused++
		}
	}
	if refused > 0 {
		return None, refused
	}
	if l.fault != nil {
		fault = l.fault()
	}
	if fault != Lost {
		l.ids = append(l.ids, ids...)
		if l.grown != nil {
			close(l.grown)
			l.grown = nil
		}
	}
	return fault, 0
}

// answers is how one kind of receiver speaks.
type answers struct {
	decode func(r *http.Request, body []byte) (ids []string, err error)
	taken  func(w http.ResponseWriter)
	refuse func(w http.ResponseWriter, refused int)
}

// serve starts an HTTP receiver that ends with the test.
func (l *Log) serve(t testing.TB, path string, a answers) string {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) { l.receive(w, r, a) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func (l *Log) receive(w http.ResponseWriter, r *http.Request, a answers) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if r.Header.Get("Content-Encoding") == "gzip" {
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(body)); err == nil {
			body, err = io.ReadAll(z)
		}
	}
	var ids []string
	if err == nil {
		ids, err = a.decode(r, body)
	}
	if err != nil {
		l.problem("%v", err)
		w.WriteHeader(http.StatusTeapot)
		return
	}
	fault, refused := l.take(ids)
	switch {
	case refused > 0:
		a.refuse(w, refused)
	case fault == Lost:
		w.WriteHeader(http.StatusServiceUnavailable)
	case fault == Kept:
		panic(http.ErrAbortHandler)
	default:
		a.taken(w)
	}
}

// idOf is the id of an entry in its public form.
func idOf(text []byte) (string, error) {
	var e struct{ ID string }
	if err := json.Unmarshal(text, &e); err != nil || e.ID == "" {
		return "", fmt.Errorf("%q is not an entry: %v", text, err)
	}
	return e.ID, nil
}
