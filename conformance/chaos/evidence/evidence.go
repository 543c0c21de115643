package evidence

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// SyncEvery is how often a log is forced to the disk.
const SyncEvery = 100 * time.Millisecond

// lineBytesMax bounds one line when it is read; a record has some hundred bytes.
const lineBytesMax = 1 << 20

// Answer is what an upstream did with a request.
type Answer string

// The answers of upstreams.
const (
	Whole     Answer = "whole"      // a whole answer
	ToolError Answer = "tool_error" // a whole result that says isError
	Refused   Answer = "error"      // a whole error: nothing was done, nothing is billed
	Cut       Answer = "cut"        // done and billed, but the answer broke off or never began
	Left      Answer = "left"       // the caller went away before the answer had ended; billed as far as it had come
	NoSession Answer = "no_session" // refused before it was read as a call: the session had ended
)

// Request is one request that reached an upstream. It takes two lines: one when it arrives and one, with Of, when it has
// ended; Requests puts them together.
type Request struct {
	Seq      int64  `json:"seq,omitempty"` // counts the requests of one upstream's log
	Of       int64  `json:"of,omitempty"`  // the Seq that this line ends
	Nonce    string `json:"nonce,omitempty"`
	Upstream string `json:"upstream,omitempty"`
	Target   string `json:"target,omitempty"`
	Arrived  int64  `json:"arrived,omitempty"`

	Ended  int64  `json:"ended,omitempty"` // just before the last byte was sent; 0: it was under way when the run ended
	Answer Answer `json:"answer,omitempty"`
	Input  int64  `json:"input,omitempty"` // tokens that the provider bills
	Output int64  `json:"output,omitempty"`
}

// Result is what a worker got for a call.
type Result string

// The results of calls.
const (
	Answered    Result = "answered"    // the upstream's whole answer
	Limited     Result = "limited"     // refused by a limit
	Denied      Result = "denied"      // refused for another reason
	Failed      Result = "failed"      // the upstream's error, or the gateway's word that there is no answer
	Broken      Result = "broken"      // no whole answer: connection refused, lost or timed out
	HungUp      Result = "hung_up"     // the worker went away on purpose
	Unavailable Result = "unavailable" // the gateway said that it serves nothing now
)

// Call is one call that a worker made. Each has its own Nonce, which is also the id of its trace.
type Call struct {
	Nonce   string `json:"nonce"`
	Key     string `json:"key"`
	Replica string `json:"replica"`
	Name    string `json:"name"` // model or tool as it was asked for
	Sent    int64  `json:"sent"` // before the first byte left
	Done    int64  `json:"done"` // after the last byte came, or the worker gave up
	Result  Result `json:"result"`
	Status  int    `json:"status,omitempty"`
	ID      string `json:"id,omitempty"`      // of the call in the ledger, when the gateway says it
	Limit   string `json:"limit,omitempty"`   // the reason given for a refusal
	Foreign bool   `json:"foreign,omitempty"` // the answer was to another call
}

// Fault is one thing that was done to the system.
type Fault struct {
	At     int64  `json:"at"`
	Until  int64  `json:"until,omitempty"`
	Kind   string `json:"kind"`
	On     string `json:"on,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Log appends records to a file. It is safe for concurrent use.
type Log struct {
	mu     sync.Mutex // guards file, seq and err
	file   *os.File
	seq    int64
	err    error // the first that a write met
	closed chan struct{}
	synced chan struct{} // closed when the syncing goroutine has ended
}

// Create makes the log at path, which must not exist.
func Create(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("making a log of evidence: %w", err)
	}
	l := &Log{file: f, closed: make(chan struct{}), synced: make(chan struct{})}
	go l.sync()
	return l, nil
}

func (l *Log) sync() {
	defer close(l.synced)
	for tick := time.NewTicker(SyncEvery); ; {
		select {
		case <-tick.C:
			if err := l.file.Sync(); err != nil {
				l.fail(err)
			}
		case <-l.closed:
			tick.Stop()
			return
		}
	}
}

func (l *Log) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// Next numbers a request: 1, 2, 3 and so on.
func (l *Log) Next() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	return l.seq
}

// Add appends one record. The error is also returned by Close, so that whoever cannot act on it may go on.
func (l *Log) Add(record any) error {
	line, err := json.Marshal(record)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.file.Write(append(line, '\n')); err != nil && l.err == nil {
		l.err = err
	}
	return l.err
}

// Close syncs and closes the file, and returns the first error that it has met.
func (l *Log) Close() error {
	close(l.closed)
	<-l.synced
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.err, l.file.Sync(), l.file.Close())
}

// Read returns the records of the file at path, oldest first.
func Read[T any](path string) ([]T, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return Scan[T](f)
}

// Scan returns the records in r, oldest first.
func Scan[T any](r io.Reader) ([]T, error) {
	var out []T
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, lineBytesMax)
	for n := 1; lines.Scan(); n++ {
		var record T
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			return nil, fmt.Errorf("line %d of a log of evidence: %w", n, err)
		}
		out = append(out, record)
	}
	return out, lines.Err()
}

// Requests puts the two lines of each request together, in the order of arrival.
func Requests(lines []Request) ([]Request, error) {
	var out []Request
	at := map[int64]int{}
	for _, line := range lines {
		if line.Of == 0 {
			at[line.Seq] = len(out)
			out = append(out, line)
			continue
		}
		i, ok := at[line.Of]
		if !ok || out[i].Ended != 0 {
			return nil, fmt.Errorf("a log of evidence ends request %d, which is not under way", line.Of)
		}
		r := &out[i]
		r.Ended, r.Answer, r.Input, r.Output = line.Ended, line.Answer, line.Input, line.Output
	}
	return out, nil
}
