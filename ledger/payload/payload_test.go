package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/postgrestest"
	"github.com/tollgate/tollgate/internal/redact"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/subject"
	"github.com/tollgate/tollgate/policy"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

var noon = time.Date(2026, 11, 14, 12, 0, 0, 0, time.UTC)

// world is a recorder and what it stands on.
type world struct {
	*Recorder
	subjects *subject.Subjects
	ledger   *ledger.Ledger
	now      time.Time
}

// suite runs a test on both places.
func suite(t *testing.T, test func(t *testing.T, w *world)) {
	t.Run("file", func(t *testing.T) { test(t, open(t, nil)) })
	t.Run("postgres", func(t *testing.T) {
		db, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(postgrestest.Database(t))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		test(t, open(t, db))
	})
}

func open(t *testing.T, db *postgres.DB) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{now: noon}
	var err error
	if w.ledger, err = ledger.Open(ledger.Config{Dir: dir, Durability: ledger.Relaxed}); err != nil {
		t.Fatal(err)
	}
	if w.subjects, err = subject.Open(t.Context(), subject.Config{Path: filepath.Join(dir, "subjects.db"), Database: db, KEK: bytes.Repeat([]byte{1}, 32)}); err != nil {
		t.Fatal(err)
	}
	w.Recorder, err = Open(t.Context(), Config{
		Path: filepath.Join(dir, "payloads.db"), Database: db, Subjects: w.subjects, Digest: w.ledger.NewDigest, Mask: &redact.Mask{},
		Now: func() time.Time { return w.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(w.Close(), w.subjects.Close(), w.ledger.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// call captures a call of ann's, or of the key alone, and returns its id and what its entry says.
func (w *world) call(t *testing.T, user, request string, answer ...string) (ledger.ID, ledger.Digest, string) {
	t.Helper()
	id := ledger.NewID(w.now)
	c := &policy.Call{Principal: &policy.Principal{Customer: "acme", Key: "bot", KeyID: "k1", User: user}, Action: policy.ToolCall, Upstream: "files", Args: []byte(request)}
	pseudonym := ""
	if user != "" {
		var err error
		if pseudonym, err = w.subjects.Pseudonym(user); err != nil {
			t.Fatal(err)
		}
	}
	capture := w.Begin(c)
	for _, part := range answer {
		capture.Answer([]byte(part))
	}
	digest, kept := capture.End(id, pseudonym)
	return id, digest, kept
}

// settle stores what is in the queue.
func (w *world) settle() { w.drain(nil) }

func everything(m Mode) Rules { return Rules{General: m} }

func TestPayloadIsKeptAsTheModeSays(t *testing.T) {
	const request, answer = `{"to":"ann@example.org"}`, `{"sent":true,"token":"sesame"}`
	suite(t, func(t *testing.T, w *world) {
		for _, tt := range []struct {
			mode            Mode
			kept            string
			digest          bool
			request, answer string
		}{
			{Off, "", false, "", ""},
			{Digest, "digest", true, "", ""},
			{Redacted, "redacted", true, `{"to":"<email>"}`, `{"sent":true,"token":"<credential>"}`},
			{Full, "full", true, request, answer},
		} {
			w.SetRules(everything(tt.mode), time.Hour)
			id, digest, kept := w.call(t, "ann", request, answer[:9], answer[9:])
			w.settle()
			if kept != tt.kept || digest != map[bool]ledger.Digest{true: w.ledger.Digest("acme", []byte(answer))}[tt.digest] {
				t.Errorf("%s: %q, %s", tt.mode, kept, digest)
			}
			p, err := w.Read(t.Context(), id)
			if tt.request == "" {
				if !errors.Is(err, ErrNone) {
					t.Errorf("%s: %+v, %v", tt.mode, p, err)
				}
				continue
			}
			if err != nil || plain(p.Request) != tt.request || plain(p.Answer) != tt.answer || p.Mode != tt.mode || !p.Time.Equal(noon) || p.Call != id || p.Cut != nil {
				t.Errorf("%s: %+v, %v", tt.mode, p, err)
			}
		}
		if n := w.held.Load(); n != 0 {
			t.Errorf("%d bytes are held by nothing", n)
		}
	})
}

var digests = regexp.MustCompile(`:[0-9a-f]{8}>`)

// plain is text with its tokens bare.
func plain(text string) string { return digests.ReplaceAllString(text, ">") }

func TestPayloadIsGoneWithItsSubject(t *testing.T) {
	suite(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.SetRules(everything(Full), time.Hour)
		ann, _, _ := w.call(t, "ann", "a", "b")
		bea, _, _ := w.call(t, "bea", "c", "d")
		key, _, _ := w.call(t, "", "e", "f")
		w.settle()
		queued, _, _ := w.call(t, "ann", "g", "h")
		for id, prefix := range map[ledger.ID]string{ann: "u_", bea: "u_", key: "k_"} {
			if p, err := w.Read(ctx, id); err != nil || !strings.HasPrefix(p.Subject, prefix) {
				t.Errorf("%+v, %v", p, err)
			}
		}
		p, err := w.Of(ctx, ann)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.subjects.Erase(ctx, p.Subject); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Read(ctx, ann); !errors.Is(err, subject.ErrErased) {
			t.Errorf("the row without its key: %v", err)
		}
		if n, err := w.Forget(ctx, p.Subject); n != 1 || err != nil {
			t.Error(n, err)
		}
		w.settle()
		for _, id := range []ledger.ID{ann, queued} {
			if _, err := w.Read(ctx, id); !errors.Is(err, ErrNone) {
				t.Errorf("%v", err)
			}
		}
		if p, err := w.Read(ctx, bea); err != nil || p.Request != "c" || p.Answer != "d" {
			t.Errorf("another's: %+v, %v", p, err)
		}
	})
}

func TestPayloadIsGoneAfterItsRetention(t *testing.T) {
	suite(t, func(t *testing.T, w *world) {
		w.SetRules(everything(Full), time.Hour)
		old, _, _ := w.call(t, "ann", "a", "b")
		w.now = noon.Add(30 * time.Minute)
		fresh, _, _ := w.call(t, "ann", "c", "d")
		w.settle()
		w.now = noon.Add(61 * time.Minute)
		if n, err := w.Sweep(t.Context()); n != 1 || err != nil {
			t.Error(n, err)
		}
		if _, err := w.Read(t.Context(), old); !errors.Is(err, ErrNone) {
			t.Error(err)
		}
		if p, err := w.Read(t.Context(), fresh); err != nil || p.Request != "c" {
			t.Error(p, err)
		}
		w.SetRules(everything(Full), 0)
		w.now = noon.Add(1000 * time.Hour)
		if n, err := w.Sweep(t.Context()); n != 0 || err != nil {
			t.Error("kept for ever:", n, err)
		}
	})
}

// What is stored of one call cannot be put in the place of another's.
func TestStoredPayloadIsBoundToItsPlace(t *testing.T) {
	w := open(t, nil)
	w.SetRules(everything(Full), time.Hour)
	a, _, _ := w.call(t, "ann", "question", "answer")
	b, _, _ := w.call(t, "ann", "other question", "other answer")
	w.settle()
	ctx := t.Context()
	for name, change := range map[string]string{
		"another call": "UPDATE payloads SET sealed = (SELECT sealed FROM payloads AS p WHERE p.call = ? AND p.part = payloads.part) WHERE call = ?",
		"another part": "UPDATE payloads SET sealed = (SELECT sealed FROM payloads AS p WHERE p.call = ? AND p.part = 1 - payloads.part) WHERE call = ?",
		"another mode": "UPDATE payloads SET mode = 'redacted' WHERE ? <> call AND call = ?",
	} {
		from := b
		if name == "another part" {
			from = a
		}
		if n, err := w.store.db.Exec(ctx, change, from[:], a[:]); n != 2 || err != nil {
			t.Fatal(name, n, err)
		}
		if p, err := w.Read(ctx, a); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// A queue without room drops payloads and says so; it holds up nobody.
func TestFullQueueDropsAndSaysSo(t *testing.T) {
	w := open(t, nil)
	w.SetRules(everything(Full), time.Hour)
	for i := range queueMax {
		if _, _, kept := w.call(t, "ann", "x", "y"); kept != "full" {
			t.Fatalf("payload %d: %s", i, kept)
		}
	}
	_, digest, kept := w.call(t, "ann", "x", "y")
	if kept != Dropped || digest != w.ledger.Digest("acme", []byte("y")) || w.dropped.Load() != 1 {
		t.Errorf("%s, %s, %d dropped", kept, digest, w.dropped.Load())
	}
	w.settle()
	w.held.Store(heldBytesMax)
	if _, _, kept := w.call(t, "ann", "x", "y"); kept != Dropped {
		t.Errorf("without memory: %s", kept)
	}
	w.held.Add(-heldBytesMax)
	if n := w.held.Load(); n != 0 {
		t.Errorf("%d bytes are held by nothing", n)
	}
}

func TestLargePayloadsAreCutAndMediaLeftOut(t *testing.T) {
	w := open(t, nil)
	w.SetRules(everything(Full), time.Hour)
	picture := `{"image":"` + strings.Repeat("aGVsbG8+/", 1000) + `","text":"hi"}`
	id, _, _ := w.call(t, "ann", picture, strings.Repeat("many words ", partBytesMax/10))
	w.settle()
	p, err := w.Read(t.Context(), id)
	if err != nil || p.Request != `{"image":"[media of 9000 characters left out]","text":"hi"}` {
		t.Errorf("%.200s, %v", p.Request, err)
	}
	if len(p.Answer) != partBytesMax || len(p.Cut) != 1 || p.Cut[0] != "answer" {
		t.Errorf("%d bytes, %v is cut", len(p.Answer), p.Cut)
	}
}

// What waits in the queue counts by its length, so it must not have more memory than that.
func TestWhatMediaTookIsNotHeld(t *testing.T) {
	got := withoutMedia([]byte(`{"image":"`+strings.Repeat("A", 1<<20)+`"}`), partBytesMax)
	if c := cap(got.text); c > mediaCharsMin {
		t.Errorf("%d bytes are kept for a text of %d", c, len(got.text))
	}
}

func TestBatchIsBoundInBytes(t *testing.T) {
	w := open(t, nil)
	w.SetRules(everything(Full), 0)
	for range 8 {
		w.call(t, "", `{}`, strings.Repeat(".", partBytesMax))
	}
	if n := len(w.batch(<-w.queue)); n != 4 {
		t.Errorf("%d payloads of 2 MB are one batch", n)
	}
}

// Each text of an event says where it stands, and an upstream chooses how long that is.
func TestJoinedStreamIsBound(t *testing.T) {
	for name, event := range map[string]string{
		"long places": `{"` + strings.Repeat("a", 100_000) + `":["` + strings.Repeat(`b","`, 1000) + `"]}`,
		"many places": `{"` + strings.Repeat("a", 1000) + `":["` + strings.Repeat(`b","`, 10_000) + `"]}`,
		"many texts":  `{"content":["` + strings.Repeat(`b","`, 10_000) + `"]}`,
	} {
		out, whole := joinEvents([]byte("data: " + event + "\n\n"))
		if name == "many texts" {
			if !whole {
				t.Errorf("%s: it is cut", name)
			}
			continue
		}
		if len(out) > partBytesMax+partBytesMax/10 || whole {
			t.Errorf("%s: %d bytes come to %d, whole %t", name, len(event), len(out), whole)
		}
	}
}

func TestRulesOfModes(t *testing.T) {
	tools, models := Route{policy.Tools, "x"}, Route{policy.Models, "x"}
	for name, tt := range map[string]struct {
		rules  Rules
		call   policy.Call
		want   Mode
		silent bool
		keeps  bool
	}{
		"nobody says anything":    {Rules{}, policy.Call{Action: policy.ToolCall, Upstream: "x"}, Off, true, false},
		"the general one":         {Rules{General: Digest}, policy.Call{Action: policy.ToolCall, Upstream: "x"}, Digest, false, false},
		"a server's alone":        {Rules{Routes: map[Route]Mode{tools: Full}}, policy.Call{Action: policy.ToolCall, Upstream: "x"}, Full, false, true},
		"not the provider's":      {Rules{Routes: map[Route]Mode{tools: Full}}, policy.Call{Action: policy.Chat, Upstream: "x"}, Off, false, true},
		"the more private counts": {Rules{General: Full, Routes: map[Route]Mode{models: Redacted}}, policy.Call{Action: policy.Chat, Upstream: "x"}, Redacted, false, true},
		"whoever says it":         {Rules{General: Off, Routes: map[Route]Mode{models: Full}}, policy.Call{Action: policy.Chat, Upstream: "x"}, Off, true, true},
		"a key's before all":      {Rules{General: Off, Keys: map[string]Mode{"k1": Full}}, policy.Call{Action: policy.Chat, Upstream: "x"}, Full, false, true},
		"also to be off":          {Rules{General: Full, Keys: map[string]Mode{"k1": Off}}, policy.Call{Action: policy.Chat, Upstream: "x"}, Off, false, true},
		"the gateway's own":       {Rules{General: Full}, policy.Call{Action: policy.ServerPing, Upstream: "x"}, Off, false, true},
	} {
		tt.call.Principal = &policy.Principal{KeyID: "k1"}
		if got := tt.rules.Mode(&tt.call); got != tt.want || tt.rules.Silent() != tt.silent || tt.rules.Keeps() != tt.keeps {
			t.Errorf("%s: %s, silent %v, keeps %v", name, got, tt.rules.Silent(), tt.rules.Keeps())
		}
	}
	if _, err := ParseMode("some"); err == nil {
		t.Error("some is a mode")
	}
}

// chunks writes a text as a stream of a model's, a few letters an event.
func chunks(field func(piece string) string, text string, size int) string {
	var b strings.Builder
	for len(text) > 0 {
		n := min(size, len(text))
		fmt.Fprintf(&b, "event: x\ndata: %s\n\n", field(text[:n]))
		text = text[n:]
	}
	return b.String()
}

func quoted(s string) string { b, _ := json.Marshal(s); return string(b) }

func TestStreamsAreJoinedBeforeTheyAreRedacted(t *testing.T) {
	red := redactor{tokens: redact.NewTokens([]byte("k"), &redact.Mask{}), name: "Annika Canary", with: "u_x"}
	chat := func(i int) func(string) string {
		return func(s string) string {
			return fmt.Sprintf(`{"id":"c1","choices":[{"index":%d,"delta":{"content":%s}}]}`, i, quoted(s))
		}
	}
	messages := func(s string) string {
		return `{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":` + quoted(s) + `}}`
	}
	responses := func(s string) string {
		return `{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":` + quoted(s) + `}`
	}
	arguments := func(s string) string {
		return `{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":` + quoted(s) + `}}]}}]}`
	}
	for name, tt := range map[string]struct{ stream, want string }{
		"chat":      {chunks(chat(0), "mail ann@example.org, Annika Canary", 3) + "data: [DONE]\n\n", `"mail <email>, u_x"`},
		"choices":   {chunks(chat(0), "4111 1111 ", 20) + chunks(chat(1), "1111 1111", 20), `"4111 1111 "`},
		"messages":  {chunks(messages, "+49 171 1234567", 4), `"<phone>"`},
		"responses": {chunks(responses, "DE89370400440532013000", 5), `"<iban>"`},
		"arguments": {chunks(arguments, `{"password":"hunter2","to":"a@b.example"}`, 6), `"{\"password\":\"<credential>\",\"to\":\"<email>\"}"`},
	} {
		got := red.part(part{text: []byte(tt.stream)})
		if !json.Valid(got.text) || got.cut || !strings.Contains(plain(string(got.text)), tt.want) {
			t.Errorf("%s: %s (%v)", name, got.text, got.cut)
		}
	}
	if got := red.part(part{text: []byte("data: {\"a\":\"b\"}\n\ndata: {\"a\":\"ann@exa")}); !got.cut || strings.Contains(string(got.text), "ann@exa") {
		t.Errorf("a stream that was cut: %s (%v)", got.text, got.cut)
	}
}

func TestJSONIsRedactedByItsValues(t *testing.T) {
	red := redactor{tokens: redact.NewTokens([]byte("k"), &redact.Mask{})}
	for _, tt := range []struct{ in, want string }{
		{`{"a":1.50,"b":[true,null,"x"],"c":{}}`, `{"a":1.50,"b":[true,null,"x"],"c":{}}`},
		{`{"mail":"ann\u0040example.org"}`, `{"mail":"<email>"}`},
		{`{"ann@example.org":1}`, `{"<email>":1}`},
		{`{"card":4111111111111111,"order":4111111111111112}`, `{"card":"<card>","order":4111111111111112}`},
		{`{"password":"x","pin":7}`, `{"password":"<credential>","pin":7}`},
		{`{"db.password":{"a":["x",5],"b":true}}`, `{"db.password":{"a":["<credential>","<credential>"],"b":true}}`},
		{`{"x_api_key":"k","after":"k"}`, `{"x_api_key":"<credential>","after":"k"}`},
		{`{"text":"{\"api_key\":\"x\"}"}`, `{"text":"{\"api_key\":\"<credential>\"}"}`},
		{`[1,2] trailing ann@example.org`, `[1,2] trailing <email>`},
		{`no JSON, ann@example.org`, `no JSON, <email>`},
		{`{"broken": "ann@example.org`, `{"broken": "<email>`},
	} {
		if got := plain(string(red.part(part{text: []byte(tt.in)}).text)); got != tt.want {
			t.Errorf("%s\n became %s\n want   %s", tt.in, got, tt.want)
		}
	}
	cut := red.part(part{text: []byte(`{"a":"ann@example.org","b":"bea@exa`), cut: true})
	if got := plain(string(cut.text)); got != `{"a":"<email>","b"` || !cut.cut {
		t.Errorf("what was cut: %s", got)
	}
}

func FuzzRedact(f *testing.F) {
	for _, seed := range []string{`{"a":["b",1]}`, "data: {\"a\":\"b\"}\n\n", `{"a":"{\"b\":1}"}`, "text"} {
		f.Add(seed)
	}
	red := redactor{tokens: redact.NewTokens([]byte("k"), &redact.Mask{}), name: "ann of fuzz", with: "u_x"}
	f.Fuzz(func(t *testing.T, text string) {
		got := red.part(part{text: []byte(text)})
		if json.Valid([]byte(text)) && !json.Valid(got.text) {
			t.Errorf("%q became %q", text, got.text)
		}
		planted := fmt.Sprintf(`{"a":%s,"b":"canary@example.org"}`, quoted(text))
		for _, text := range []string{planted, "data: " + planted + "\n\n"} {
			if got := red.part(part{text: []byte(text)}); bytes.Contains(got.text, []byte("canary@example")) {
				t.Errorf("%q became %q", text, got.text)
			}
		}
	})
}

func BenchmarkCapture(b *testing.B) {
	w := &world{Recorder: &Recorder{cfg: Config{Now: time.Now}, queue: make(chan *captured, queueMax)}}
	l, err := ledger.Open(ledger.Config{Dir: b.TempDir(), Durability: ledger.Relaxed})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	w.cfg.Digest = l.NewDigest
	body := []byte(`{"text":"` + strings.Repeat("many words ", 140) + `"}`)
	c := &policy.Call{Principal: &policy.Principal{KeyID: "k1"}, Action: policy.ToolCall, Upstream: "x", Args: body}
	for _, m := range []Mode{Off, Digest, Full} {
		b.Run(string(m), func(b *testing.B) {
			w.SetRules(everything(m), 0)
			b.ReportAllocs()
			for b.Loop() {
				capture := w.Begin(c)
				capture.Answer(body)
				capture.End(ledger.ID{1}, "u_x")
				select {
				case p := <-w.queue:
					w.held.Add(-int64(p.held))
				default:
				}
			}
		})
	}
}
