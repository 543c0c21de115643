package demo

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// client drives a Serve over pipes with messages as they stand on the wire.
type client struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
	id  int
}

func serve(t *testing.T, cfg Config) *client {
	t.Helper()
	stdin, in := io.Pipe()
	out, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(t.Context(), stdin, stdout, cfg)
		_ = stdout.Close()
	}()
	t.Cleanup(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	c := &client{t: t, in: in, out: bufio.NewReader(out)}
	c.ask("initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}`)
	c.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return c
}

func (c *client) send(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

// answer is what the tests look at.
type answer struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

func (c *client) ask(method, params string) answer {
	c.t.Helper()
	c.id++
	c.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, c.id, method, params))
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		c.t.Fatalf("%s: %s", err, line)
	}
	return a
}

// tool calls a tool and returns its structured content, or its text when it failed.
func (c *client) tool(name string, args any) (content string, failed bool) {
	c.t.Helper()
	raw, err := json.Marshal(args)
	if err != nil {
		c.t.Fatal(err)
	}
	a := c.ask("tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s}`, name, raw))
	var r struct {
		IsError           bool
		StructuredContent json.RawMessage
		Content           []struct{ Text string }
	}
	if a.Error != nil {
		c.t.Fatalf("%s: %s", name, a.Error.Message)
	}
	if err := json.Unmarshal(a.Result, &r); err != nil || len(r.Content) != 1 {
		c.t.Fatalf("%s: %s", name, a.Result)
	}
	if r.IsError {
		return r.Content[0].Text, true
	}
	if string(r.StructuredContent) != r.Content[0].Text {
		c.t.Errorf("%s: the text %s is not the structured content %s", name, r.Content[0].Text, r.StructuredContent)
	}
	return r.Content[0].Text, false
}

type object = map[string]any

// want calls a tool and wants what it says to contain text.
func (c *client) want(name string, args any, failed bool, text string) string {
	c.t.Helper()
	got, f := c.tool(name, args)
	if f != failed || !strings.Contains(got, text) {
		c.t.Errorf("%s %v: %s (failed %t), want %q (failed %t)", name, args, got, f, text, failed)
	}
	return got
}

func TestToolsAndTheirAnnotations(t *testing.T) {
	type tool struct {
		Name        string
		InputSchema struct{ AdditionalProperties any }
		Annotations struct{ ReadOnlyHint, DestructiveHint, IdempotentHint, OpenWorldHint bool }
	}
	list := func(cfg Config) []string {
		var r struct{ Tools []tool }
		if err := json.Unmarshal(serve(t, cfg).ask("tools/list", `{}`).Result, &r); err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, x := range r.Tools {
			a := x.Annotations
			out = append(out, fmt.Sprintf("%s read-only=%t destructive=%t idempotent=%t open=%t", x.Name, a.ReadOnlyHint, a.DestructiveHint, a.IdempotentHint, a.OpenWorldHint))
			if x.InputSchema.AdditionalProperties != false {
				t.Errorf("%s takes arguments it does not know", x.Name)
			}
		}
		slices.Sort(out)
		return out
	}
	const ro, add, del = " read-only=true destructive=false idempotent=true open=false", " read-only=false destructive=false idempotent=false open=false", " read-only=false destructive=true idempotent=true open=false"
	always := []string{"calculate" + ro, "now" + ro, "time_between" + ro}
	if got := list(Config{}); !slices.Equal(got, always) {
		t.Errorf("without directories: %q", got)
	}
	all := append(always, "note_add"+add, "note_delete"+del, "note_list"+ro, "note_read"+ro, "note_search"+ro, "search_text"+ro)
	slices.Sort(all)
	if got := list(Config{NotesDir: t.TempDir(), SearchDir: t.TempDir()}); !slices.Equal(got, all) {
		t.Errorf("with directories: %q", got)
	}
}

func TestClockAndCalculator(t *testing.T) {
	c := serve(t, Config{})
	var m moment
	if err := json.Unmarshal([]byte(c.want("now", object{"zone": "Asia/Kolkata"}, false, "+05:30")), &m); err != nil {
		t.Fatal(err)
	}
	if at, err := time.Parse(time.RFC3339, m.Time); err != nil || time.Since(at).Abs() > time.Hour || at.Unix() != m.Unix {
		t.Errorf("now is %+v", m)
	}
	c.want("now", object{}, false, `"zone":"UTC"`)
	c.want("now", object{"zone": "Middle/Earth"}, true, "unknown time zone")
	c.want("now", object{"zone": "../../etc/passwd"}, true, "unknown time zone")
	c.want("now", object{"zone": "Local"}, true, "unknown time zone")
	c.want("now", object{"zone": 7}, true, "")
	c.want("now", object{"zones": "UTC"}, true, "")
	between := func(from, to, zone string) object { return object{"from": from, "to": to, "zone": zone} }
	c.want("time_between", between("2026-03-28", "2026-03-30", "Europe/Berlin"), false, "1 days 23 hours 0 minutes 0 seconds")
	c.want("time_between", between("2026-03-01T00:00:00Z", "2026-02-28 23:00", "UTC"), false, `{"seconds":-3600,"text":"-0 days 1 hours`)
	c.want("time_between", between("0001-01-01", "9999-12-31", "UTC"), false, "3652058 days")
	c.want("time_between", between("yesterday", "2026-01-01", "UTC"), true, "from: not a moment")
	c.want("calculate", object{"expression": "2^64 + 0.5"}, false, `"value":"18446744073709551616.5"`)
	c.want("calculate", object{"expression": "1/0"}, true, "division by zero")
	c.want("calculate", object{}, true, "expression")
}

func TestNotesAreKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "notes")
	c := serve(t, Config{NotesDir: dir})
	var made note
	if err := json.Unmarshal([]byte(c.want("note_add", object{"title": "Milk & more", "text": "buy Milk\u2028 <b>today</b>"}, false, "Milk")), &made); err != nil {
		t.Fatal(err)
	}
	c.want("note_add", object{"title": "Other", "text": ""}, false, "Other")
	c = serve(t, Config{NotesDir: dir}) // another process
	c.want("note_read", object{"id": made.ID}, false, "today")
	if list := c.want("note_list", object{}, false, "Other"); strings.Contains(list, "today") || strings.Count(list, `"id"`) != 2 {
		t.Errorf("the list: %s", list)
	}
	c.want("note_search", object{"phrase": "MILK"}, false, made.ID)
	c.want("note_search", object{"phrase": "absent"}, false, `{"notes":[]}`)
	uri := fmt.Sprintf(`{"uri":"note://%s"}`, made.ID)
	for _, read := range []string{uri, `{"uri":"note://all"}`} {
		if a := c.ask("resources/read", read); !strings.Contains(string(a.Result), "# Milk") {
			t.Errorf("%s: %s %v", read, a.Result, a.Error)
		}
	}
	if a := c.ask("prompts/get", `{"name":"summarize_notes","arguments":{"topic":"milk"}}`); !strings.Contains(string(a.Result), "buy Milk") || strings.Contains(string(a.Result), "Other") {
		t.Errorf("the prompt: %s", a.Result)
	}
	c.want("note_delete", object{"id": made.ID}, false, made.ID)
	c.want("note_delete", object{"id": made.ID}, true, "there is no note")
	c.want("note_read", object{"id": made.ID}, true, "there is no note")
	if a := c.ask("resources/read", uri); a.Error == nil {
		t.Errorf("the deleted note is read: %s", a.Result)
	}
	if a := c.ask("resources/read", `{"uri":"note://../../secret"}`); a.Error == nil {
		t.Errorf("read outside: %s", a.Result)
	}
}

func TestNotesAreBoundedAndConfined(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside.json")
	write(t, outside, `{"id":"linked","title":"canary","text":"canary"}`)
	write(t, filepath.Join(dir, "torn.json"), `{"id":"torn","title":`)
	write(t, filepath.Join(dir, "wrong.json"), `{"id":"another"}`)
	write(t, filepath.Join(dir, "big.json"), `{"id":"big","title":"`+strings.Repeat("x", noteFileBytesMax)+`"}`)
	if err := os.Symlink(outside, filepath.Join(dir, "linked.json")); err != nil {
		t.Fatal(err)
	}
	c := serve(t, Config{NotesDir: dir})
	c.want("note_list", object{}, false, `{"notes":[]}`)
	c.want("note_read", object{"id": "linked"}, true, "cannot be read")
	c.want("note_read", object{"id": "../outside"}, true, "")
	c.want("note_add", object{"title": "t", "text": strings.Repeat("x", noteTextBytesMax+1)}, true, "64 KiB")
	c.want("note_add", object{"title": "", "text": "x"}, true, "")
	for i := range notesMax {
		write(t, filepath.Join(dir, fmt.Sprintf("n%d.json", i)), fmt.Sprintf(`{"id":"n%d","title":"t"}`, i))
	}
	c.want("note_add", object{"title": "one too many", "text": "x"}, true, "delete some")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSearchStaysInItsFolder(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "docs")
	write(t, filepath.Join(top, "secret.txt"), "needle canary\n")
	write(t, filepath.Join(dir, "a.md"), "one\r\nNeedle (a+b)\nthree needle\n")
	write(t, filepath.Join(dir, "sub", "b.txt"), "no\nneedle at the end")
	write(t, filepath.Join(dir, ".git", "c"), "needle canary")
	write(t, filepath.Join(dir, ".env"), "needle=canary")
	write(t, filepath.Join(dir, "binary"), "needle canary\x00")
	write(t, filepath.Join(dir, "long.txt"), "needle "+strings.Repeat("ü", 1000))
	write(t, filepath.Join(dir, "huge.txt"), "needle canary"+strings.Repeat("x", fileBytesMax))
	for link, to := range map[string]string{"link.txt": "../secret.txt", "up": ".."} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	c := serve(t, Config{SearchDir: dir})
	got := c.want("search_text", object{"query": "needle"}, false, `{"file":"sub/b.txt","line":2,"text":"needle at the end"}`)
	if strings.Contains(got, "canary") || strings.Count(got, `"file"`) != 3 || !strings.Contains(got, `"complete":true`) || len(got) > 1000 {
		t.Errorf("found %s", got)
	}
	c.want("search_text", object{"query": "NEEDLE", "ignore_case": true, "files": "*.md"}, false, `{"file":"a.md","line":2,"text":"Needle (a+b)"}`)
	c.want("search_text", object{"query": "(a+b)"}, false, `"line":2`)
	c.want("search_text", object{"query": `^t\w+`, "regexp": true}, false, `"text":"three needle"`)
	c.want("search_text", object{"query": "needle", "limit": 1}, false, `"complete":false,"stopped":"the limit of lines is reached"`)
	c.want("search_text", object{"query": "(", "regexp": true}, true, "no regular expression")
	c.want("search_text", object{"query": "x", "files": "["}, true, "malformed")
	c.want("search_text", object{"query": "x", "limit": 100000}, true, "")
	c.want("search_text", object{"query": "canary", "files": "../*"}, false, `"matches":[]`)
}

func TestServeRefusesFoldersThatAreNotThere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	for _, cfg := range []Config{{NotesDir: filepath.Join(file, "notes")}, {SearchDir: filepath.Join(file, "none")}} {
		if err := Serve(t.Context(), strings.NewReader(""), io.Discard, cfg); err == nil {
			t.Errorf("served %+v", cfg)
		}
	}
}
