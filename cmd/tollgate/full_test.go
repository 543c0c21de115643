package main

import (
	"os"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/internal/durabletest"
)

// On a full disk callers are refused without being told where it is, operators are told, and everything that reads answers.
func TestFullDiskRefusesCallsAndAnswersQuestions(t *testing.T) {
	r := startRunningIn(t, durabletest.SmallDisk(t, "size=48m"), "1000000 calls / 1d")
	if status := r.chat(t, devKey, "demo/demo"); status != 200 {
		t.Fatalf("before: %d", status)
	}
	token, err := os.ReadFile(r.file(tokenFile))
	if err != nil {
		t.Fatal(err)
	}
	admin := "http://" + r.doors.admin.Addr().String()
	read := func(path string) (int, string) {
		return r.ask(t, admin+path, strings.TrimSpace(string(token)), "")
	}
	if status, body := read("/api/v1/calls"); status != 200 || !strings.Contains(body, "llm.chat") {
		t.Fatalf("before: %d %s", status, body)
	}
	remove := durabletest.Fill(t, r.inForce().Data)
	// A segment takes its room some thousand calls ahead.
	status, body := 200, ""
	for calls := 0; status == 200; calls++ {
		if calls > 20_000 {
			t.Fatal("calls go on and on")
		}
		status, body = r.ask(t, r.url+"/v1/chat/completions", devKey, `{"model":"demo/demo","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`)
	}
	if status != 503 || strings.Contains(body, r.inForce().Data) || strings.Contains(body, "journal") || !strings.Contains(body, "cannot record calls") {
		t.Errorf("a call: %d %s", status, body)
	}
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/healthz":        {200, `"alive":true`},
		"/readyz":         {503, "the disk of " + r.file(journalDir) + " is full: make room there"},
		"/metrics":        {200, "tollgate_"},
		"/api/v1/calls":   {200, `"action":"llm.chat"`},
		"/api/v1/limits":  {200, "1000000 calls / 1d"},
		"/api/v1/entries": {200, `"kind":"reserved"`},
	} {
		if status, body := read(path); status != want.status || !strings.Contains(body, want.text) {
			t.Errorf("%s: %d %.300s", path, status, body)
		}
	}
	remove()
	if status := r.chat(t, devKey, "demo/demo"); status != 200 {
		t.Errorf("when room was made: %d", status)
	}
}
