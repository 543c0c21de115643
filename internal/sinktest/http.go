package sinktest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"
)

// clockSkewMax is what Standard Webhooks allows between the clocks.
const clockSkewMax = 5 * time.Minute

// Webhook starts a receiver that verifies signatures as Standard Webhooks has it.
func Webhook(t testing.TB, key []byte) (*Log, string) {
	l := &Log{}
	url := l.serve(t, "/hook", answers{
		decode: func(r *http.Request, body []byte) ([]string, error) { return verified(r, body, key) },
		taken:  func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) },
		refuse: func(w http.ResponseWriter, _ int) { w.WriteHeader(http.StatusUnprocessableEntity) },
	})
	return l, url + "/hook"
}

func verified(r *http.Request, body, key []byte) ([]string, error) {
	id, at := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > clockSkewMax {
		return nil, fmt.Errorf("timestamp %q", at)
	}
	if !regexp.MustCompile(`^msg_[0-9a-zA-Z]+$`).MatchString(id) {
		return nil, fmt.Errorf("id %q", id)
	}
	h := hmac.New(sha256.New, key)
	fmt.Fprintf(h, "%s.%s.%s", id, at, body)
	if want := "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil)); r.Header.Get("webhook-signature") != want {
		return nil, errors.New("the signature is wrong")
	}
	var message struct {
		Type      string            `json:"type"`
		Timestamp time.Time         `json:"timestamp"`
		Data      []json.RawMessage `json:"data"`
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&message); err != nil || message.Type != "ledger.entries" || message.Timestamp.IsZero() || len(message.Data) == 0 {
		return nil, fmt.Errorf("the message is not one: %v", err)
	}
	var ids []string
	for _, one := range message.Data {
		id, err := idOf(one)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// Splunk starts an event collector for a token. With acks it has indexer acknowledgement, and says that a batch is indexed
// only when it is asked for the second time.
func Splunk(t testing.TB, token string, acks bool) (*Log, string) {
	l := &Log{}
	var mu sync.Mutex
	next, asked := 0, map[int]int{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /services/collector/event", func(w http.ResponseWriter, r *http.Request) {
		l.receive(w, r, answers{
			decode: func(r *http.Request, body []byte) ([]string, error) {
				if acks != (r.Header.Get("X-Splunk-Request-Channel") != "") {
					return nil, errors.New("a channel is for acknowledgements")
				}
				return events(r, body, token)
			},
			taken: func(w http.ResponseWriter) {
				if !acks {
					fmt.Fprint(w, `{"text":"Success","code":0}`)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				fmt.Fprintf(w, `{"text":"Success","code":0,"ackId":%d}`, next)
				asked[next] = 0
				next++
			},
			refuse: func(w http.ResponseWriter, _ int) {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(w, `{"text":"Invalid data format","code":6,"invalid-event-number":0}`)
			},
		})
	})
	mux.HandleFunc("POST /services/collector/ack", func(w http.ResponseWriter, r *http.Request) {
		var question struct{ Acks []int }
		if err := json.NewDecoder(r.Body).Decode(&question); err != nil || r.URL.Query().Get("channel") == "" || r.Header.Get("Authorization") != "Splunk "+token {
			l.problem("a wrong question for acknowledgements")
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		answer := map[string]bool{}
		for _, id := range question.Acks {
			n, known := asked[id]
			answer[strconv.Itoa(id)] = known && n > 0
			asked[id]++
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"acks": answer})
	})
	return l, start(t, mux)
}

func events(r *http.Request, body []byte, token string) (ids []string, err error) {
	if r.Header.Get("Authorization") != "Splunk "+token {
		return nil, errors.New("the token is wrong")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	for {
		var e struct {
			Time                            float64
			Host, Source, Sourcetype, Index string
			Event                           json.RawMessage
			Fields                          map[string]string
		}
		if err := d.Decode(&e); err == io.EOF {
			return ids, nil
		} else if err != nil || e.Time < 1e9 || e.Time > 1e10 {
			return nil, fmt.Errorf("an event is not one: %v, time %v", err, e.Time)
		}
		id, err := idOf(e.Event)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
}

// OTLP starts a receiver of logs over HTTP in protobuf. What is refused, it says by a partial success, as collectors do.
func OTLP(t testing.TB) (*Log, string) {
	l := &Log{}
	answer := func(w http.ResponseWriter, m proto.Message) {
		body, _ := proto.Marshal(m)
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write(body)
	}
	return l, l.serve(t, "/v1/logs", answers{
		decode: records,
		taken:  func(w http.ResponseWriter) { answer(w, &collector.ExportLogsServiceResponse{}) },
		refuse: func(w http.ResponseWriter, n int) {
			answer(w, &collector.ExportLogsServiceResponse{PartialSuccess: &collector.ExportLogsPartialSuccess{RejectedLogRecords: int64(n), ErrorMessage: "no"}})
		},
	})
}

func records(r *http.Request, body []byte) (ids []string, err error) {
	if r.Header.Get("Content-Type") != "application/x-protobuf" {
		return nil, errors.New("not protobuf")
	}
	var m collector.ExportLogsServiceRequest
	if err := proto.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	for _, rl := range m.ResourceLogs {
		if len(rl.Resource.Attributes) == 0 || rl.Resource.Attributes[0].Key != "service.name" {
			return nil, errors.New("no service.name")
		}
		for _, sl := range rl.ScopeLogs {
			for _, rec := range sl.LogRecords {
				if rec.TimeUnixNano == 0 || rec.SeverityNumber == 0 || len(rec.TraceId) != 0 && len(rec.TraceId) != 16 {
					return nil, fmt.Errorf("an incomplete record: %v", rec)
				}
				id, err := idOf([]byte(rec.Body.GetStringValue()))
				if err != nil {
					return nil, err
				}
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}
