package front

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/policy"
)

// school is a hall in which pupils see only the tool t, and everybody has a key of their own name.
type school struct {
	*hall
	people map[string]*policy.Principal
}

func newSchool(tools ...[]byte) *school {
	return &school{newHall(tools...), map[string]*policy.Principal{}}
}

func (s *school) Visible(p *policy.Principal) catalog.Visible {
	return func(t *policy.Tool) bool { return !strings.HasPrefix(p.Key, "pupil") || t.Name == "t" }
}

func (s *school) Authenticate(r *http.Request) (*policy.Principal, error) {
	name := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if s.people[name] == nil {
		s.people[name] = &policy.Principal{Key: name, KeyID: name}
	}
	return s.people[name], nil
}

// page is what name sees first of the tools, through the front.
func (s *school) page(t *testing.T, f *Front, name string) (page []byte, body string) {
	t.Helper()
	r := httptest.NewRequest("POST", "http://127.0.0.1/mcp", nil)
	r.Header.Set("Authorization", "Bearer "+name)
	who, _ := s.Authenticate(r)
	x := &exchange{Front: f, r: r, base: who, space: s.catalog.Space("")}
	page = x.caller("").Class(x.space).Page(catalog.Tools, false)
	w := &recorder{ResponseRecorder: httptest.NewRecorder()}
	f.ServeHTTP(w, listRequest(name))
	return page, w.Body.String()
}

func listRequest(name string) *http.Request {
	const body = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	r := httptest.NewRequest("POST", "http://127.0.0.1/mcp", strings.NewReader(body))
	r = r.WithContext(localAddr(r.Context()))
	r.Header = http.Header{"Content-Type": {"application/json"}, "Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/list"}, "Authorization": {"Bearer " + name}}
	return r
}

func (s *school) open(t *testing.T) *Front {
	f := New(Config{Auth: s, Backend: s, Version: "1", Sealer: sealer(1)})
	t.Cleanup(f.Close)
	return f
}

func TestCallersWhoSeeTheSameShareAPage(t *testing.T) {
	s := newSchool([]byte(`{"name":"exam","inputSchema":{"type":"object"}}`))
	f := s.open(t)
	teacher, all := s.page(t, f, "teacher")
	if !json.Valid([]byte(all)) || !strings.Contains(all, "srv__exam") || !strings.HasPrefix(all, `{"jsonrpc":"2.0","id":1,"result":`+string(teacher)) {
		t.Errorf("the teacher sees %s", all)
	}
	first, few := s.page(t, f, "pupil0")
	if !json.Valid([]byte(few)) || strings.Contains(few, "exam") || !strings.Contains(few, "srv__t") {
		t.Errorf("a pupil sees %s", few)
	}
	for i := range 1000 {
		name := fmt.Sprint("pupil", i)
		if page, body := s.page(t, f, name); &page[0] != &first[0] || body != few {
			t.Fatalf("%s sees %s", name, body)
		}
	}
}

func TestPagesOfAnotherCatalogAreNotServed(t *testing.T) {
	s := newSchool()
	f := s.open(t)
	s.page(t, f, "teacher")
	s.catalog = newHall([]byte(`{"name":"new","inputSchema":{"type":"object"}}`)).catalog
	if _, body := s.page(t, f, "teacher"); !strings.Contains(body, "srv__new") {
		t.Errorf("after the change: %s", body)
	}
}

// A list that is sent again is not made again.
func TestListAllocatesLittle(t *testing.T) {
	f := New(Config{Auth: anybody(), Backend: newHall(largeTools()...), Version: "1", Sealer: sealer(1)})
	defer f.Close()
	list := func() {
		w := &recorder{ResponseRecorder: httptest.NewRecorder(), discard: true}
		f.ServeHTTP(w, listRequest(""))
		if w.Code != 200 || w.n < 400_000 {
			t.Fatal(w.Code, w.n)
		}
	}
	list()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const lists = 20
	for range lists {
		list()
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / lists; each > 40_000 {
		t.Errorf("a list of more than 400,000 bytes allocates %d", each)
	}
}

// largeTools are 500 tools of 1 KB.
func largeTools() [][]byte {
	var tools [][]byte
	for i := range 500 {
		tools = append(tools, fmt.Appendf(nil, `{"name":"t%d_x","description":%q,"inputSchema":{"type":"object"}}`, i, strings.Repeat("d", 900)))
	}
	return tools
}

// BenchmarkList500 is tools/list of 500 tools of 1 KB, without the network.
func BenchmarkList500(b *testing.B) {
	f := New(Config{Auth: anybody(), Backend: newHall(largeTools()...), Version: "1", Sealer: sealer(1)})
	defer f.Close()
	b.ReportAllocs()
	for b.Loop() {
		w := &recorder{ResponseRecorder: httptest.NewRecorder(), discard: true}
		f.ServeHTTP(w, listRequest(""))
		if w.Code != 200 || w.n < 400_000 {
			b.Fatal(w.Code, w.n)
		}
	}
}

// BenchmarkClass is what a caller costs who is new and sees what others see of 500 tools.
func BenchmarkClass(b *testing.B) {
	s := newSchool(largeTools()...)
	f := New(Config{Auth: s, Backend: s, Version: "1", Sealer: sealer(1)})
	defer f.Close()
	space := s.catalog.Space("")
	b.ReportAllocs()
	for b.Loop() {
		x := &exchange{Front: f, base: &policy.Principal{Key: "pupil"}}
		x.caller("").Class(space).Page(catalog.Tools, false)
	}
}
