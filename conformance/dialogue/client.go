package dialogue

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tollgate/tollgate/internal/sse"
)

// The versions that clients speak.
const (
	ModernVersion = "2026-07-28"
	LegacyVersion = "2025-11-25"
)

// eventBytesMax bounds one message on a stream.
const eventBytesMax = 4 << 20

// roundsMax bounds how often a call is repeated with answers.
const roundsMax = 10

// Client is one client. Fields are set before Open; methods are safe for concurrent use after it.
type Client struct {
	URL          string // of the endpoint
	Modern       bool
	Capabilities string            // raw object: what it declares
	Answers      map[string]string // raw results that it answers questions with, by their method
	Level        string            // modern: the lowest level of log messages that it wants; empty: none
	Tasks        []string          // modern: ids of the tasks that Listen is to hear of

	// Heard is called with each notification on a request's own stream, if it is not nil.
	Heard func(json.RawMessage)

	session string
	mu      sync.Mutex // guards next
	next    int
}

// Exchange is one request and all that came of it.
type Exchange struct {
	Status        int               // of HTTP, of the last answer
	Notifications []json.RawMessage // on the request's own stream, in order
	Questions     []json.RawMessage // what the server asked: {method, params}, by text
	Response      json.RawMessage   // the last message: a result or an error
}

// Open begins the conversation and returns what the server says of itself.
func (c *Client) Open(ctx context.Context) (*Exchange, error) {
	if c.Modern {
		return c.Do(ctx, "server/discover", "{}")
	}
	x, err := c.Do(ctx, "initialize", fmt.Sprintf(`{"protocolVersion":%q,"capabilities":%s,"clientInfo":{"name":"dialogue","version":"1"}}`, LegacyVersion, c.capabilities()))
	if err != nil {
		return nil, err
	}
	return x, c.Tell(ctx, "notifications/initialized", "{}")
}

func (c *Client) capabilities() string { return cmp.Or(c.Capabilities, "{}") }

// Tell sends a notification.
func (c *Client) Tell(ctx context.Context, method, params string) error {
	return c.send(ctx, fmt.Sprintf(`{"jsonrpc":"2.0","method":%q,"params":%s}`, method, params))
}

// send posts a message that has no answer.
func (c *Client) send(ctx context.Context, body string) error {
	resp, err := c.post(ctx, "", "", body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		text, _ := io.ReadAll(resp.Body) // only shown
		return fmt.Errorf("%s answered with %s: %s", body, resp.Status, text)
	}
	return nil
}

// ID is a new request id. The request with it may be begun by DoAs.
func (c *Client) ID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	return c.next
}

// Do sends a request and reads until its answer; it answers what it is asked. params is a raw object without _meta.
func (c *Client) Do(ctx context.Context, method, params string) (*Exchange, error) {
	return c.DoAs(ctx, c.ID(), method, params, "")
}

// DoAs is Do with an id from ID; token is a progress token, none if empty.
func (c *Client) DoAs(ctx context.Context, id int, method, params, token string) (*Exchange, error) {
	x := &Exchange{}
	more := ""
	for range roundsMax {
		if err := c.round(ctx, x, id, method, with(params, c.meta(token)+more)); err != nil {
			return nil, fmt.Errorf("%s %s: %w", method, params, err)
		}
		retry, err := c.retry(x)
		if err != nil || retry == "" {
			return x, err
		}
		more, id = retry, c.ID()
	}
	return nil, fmt.Errorf("%s: asked for the %dth time", method, roundsMax)
}

// meta is the _meta member of a request's parameters, after a comma; empty: none.
func (c *Client) meta(token string) string {
	var members []string
	if token != "" {
		members = append(members, fmt.Sprintf(`"progressToken":%q`, token))
	}
	if c.Modern {
		members = append(members, fmt.Sprintf(`"io.modelcontextprotocol/protocolVersion":%q,"io.modelcontextprotocol/clientCapabilities":%s,"io.modelcontextprotocol/clientInfo":{"name":"dialogue","version":"1"}`,
			ModernVersion, c.capabilities()))
		if c.Level != "" {
			members = append(members, fmt.Sprintf(`"io.modelcontextprotocol/logLevel":%q`, c.Level))
		}
	}
	if members == nil {
		return ""
	}
	return `,"_meta":{` + strings.Join(members, ",") + `}`
}

// with adds members, after a comma, to a raw object.
func with(object, members string) string {
	body := strings.TrimSuffix(object, "}") + members + "}"
	return strings.Replace(body, "{,", "{", 1)
}

// round sends the request once and reads its answer.
func (c *Client) round(ctx context.Context, x *Exchange, id int, method, params string) error {
	resp, err := c.post(ctx, method, params, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, id, method, params))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if s := resp.Header.Get("Mcp-Session-Id"); s != "" && method == "initialize" {
		c.session = s
	}
	x.Status, x.Response = resp.StatusCode, nil
	for m, err := range messages(resp) {
		if err != nil {
			return err
		}
		if err := c.take(ctx, x, m, id); err != nil {
			return err
		}
	}
	if x.Response == nil {
		return fmt.Errorf("no answer, only %s and %s", resp.Status, x.Notifications)
	}
	return nil
}

// messages are those of an answer's body.
func messages(resp *http.Response) func(yield func([]byte, error) bool) {
	return func(yield func([]byte, error) bool) {
		if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
			body, err := io.ReadAll(resp.Body)
			if err != nil || len(body) > 0 {
				yield(body, err)
			}
			return
		}
		events := sse.NewReader(resp.Body, eventBytesMax)
		for {
			e, err := events.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if len(e.Data) == 0 && err == nil {
				continue
			}
			if !yield(bytes.Clone(e.Data), err) || err != nil {
				return
			}
		}
	}
}

// envelope is what kind a message is.
type envelope struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// take keeps one message of the answer to request id, and answers it when it asks. What answers another request, and what
// comes after the answer, is an error.
func (c *Client) take(ctx context.Context, x *Exchange, m []byte, id int) error {
	var e envelope
	if err := json.Unmarshal(m, &e); err != nil {
		return fmt.Errorf("no message: %w in %q", err, m)
	}
	switch {
	case x.Response != nil:
		return fmt.Errorf("%s came after the answer", m)
	case e.Method == "" && string(e.ID) != strconv.Itoa(id):
		return fmt.Errorf("%s does not answer request %d", m, id)
	case e.Method == "":
		x.Response = m
	case e.ID == nil:
		x.Notifications = append(x.Notifications, m)
		if c.Heard != nil {
			c.Heard(m)
		}
	default:
		return c.answer(ctx, x, &e)
	}
	return nil
}

// answer answers a legacy server's question.
func (c *Client) answer(ctx context.Context, x *Exchange, e *envelope) error {
	x.asked(e.Method, e.Params)
	answer, ok := c.Answers[e.Method]
	if !ok {
		return c.send(ctx, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"the client has no answer"}}`, e.ID))
	}
	return c.send(ctx, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, e.ID, answer))
}

// asked keeps a question. They are kept by text: an order is only promised between rounds.
func (x *Exchange) asked(method string, params json.RawMessage) {
	q := fmt.Appendf(nil, `{"method":%q,"params":%s}`, method, cmp.Or(string(params), "{}"))
	at, _ := slices.BinarySearchFunc(x.Questions, q, func(a json.RawMessage, b []byte) int { return bytes.Compare(a, b) })
	x.Questions = slices.Insert(x.Questions, at, q)
}

// retry returns the members that a call is to be repeated with, after a comma; empty: it is complete.
func (c *Client) retry(x *Exchange) (string, error) {
	var m struct {
		Result struct {
			Type     string              `json:"resultType"`
			Requests map[string]envelope `json:"inputRequests"`
			State    *string             `json:"requestState"`
		} `json:"result"`
	}
	if err := json.Unmarshal(x.Response, &m); err != nil || m.Result.Type != "input_required" {
		return "", nil //nolint:nilerr // what has no such result needs no answers
	}
	var given []string
	for _, key := range slices.Sorted(maps.Keys(m.Result.Requests)) {
		q := m.Result.Requests[key]
		x.asked(q.Method, q.Params)
		answer, ok := c.Answers[q.Method]
		if !ok {
			return "", fmt.Errorf("asked %s, which it has no answer to", q.Method)
		}
		given = append(given, fmt.Sprintf("%q:%s", key, answer))
	}
	more := `,"inputResponses":{` + strings.Join(given, ",") + `}`
	if m.Result.State != nil {
		more += fmt.Sprintf(`,"requestState":%q`, *m.Result.State)
	}
	return more, nil
}

// post sends one message with the headers that it needs.
func (c *Client) post(ctx context.Context, method, params, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	switch {
	case c.Modern:
		if err := standard(req.Header, method, params); err != nil {
			return nil, err
		}
	case method != "initialize":
		c.identify(req.Header)
	}
	return http.DefaultClient.Do(req)
}

// identify sets the headers of a session.
func (c *Client) identify(h http.Header) {
	h.Set("Mcp-Protocol-Version", LegacyVersion)
	if c.session != "" {
		h.Set("Mcp-Session-Id", c.session)
	}
}

// standard sets the headers that 2026-07-28 wants, those of the fixture's tool region among them.
func standard(h http.Header, method, params string) error {
	h.Set("Mcp-Protocol-Version", ModernVersion)
	if method == "" {
		return nil
	}
	h.Set("Mcp-Method", method)
	var p struct {
		Name, URI, TaskID string

		Arguments map[string]any
	}
	if err := json.Unmarshal([]byte(params), &p); err != nil {
		return err
	}
	if name := cmp.Or(p.Name, p.URI, p.TaskID); name != "" {
		h.Set("Mcp-Name", name)
	}
	for _, name := range []string{"region", "zone", "dry"} {
		if v, ok := p.Arguments[name]; ok && p.Name == "region" {
			h.Set("Mcp-Param-"+name, fmt.Sprint(v))
		}
	}
	return nil
}

// Listen opens the standing stream of the session, or a subscription to all that there is and to uris, and sends each
// message on it until ctx ends. It returns when the stream is open.
func (c *Client) Listen(ctx context.Context, uris ...string) (<-chan json.RawMessage, error) {
	resp, err := c.listen(ctx, uris)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("no standing stream: %s", resp.Status)
	}
	out := make(chan json.RawMessage, 64)
	go func() {
		defer resp.Body.Close()
		defer close(out)
		for m, err := range messages(resp) {
			if err != nil {
				return
			}
			var e envelope
			if json.Unmarshal(m, &e) == nil && e.ID != nil && e.Method != "" {
				_ = c.answer(ctx, &Exchange{}, &e) // an answer that does not arrive shows in the call
			}
			select {
			case out <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func (c *Client) listen(ctx context.Context, uris []string) (*http.Response, error) {
	if c.Modern {
		list, err := json.Marshal(append([]string{}, uris...))
		if err != nil {
			return nil, err
		}
		tasks := ""
		if c.Tasks != nil {
			ids, err := json.Marshal(c.Tasks)
			if err != nil {
				return nil, err
			}
			tasks = `,"taskIds":` + string(ids)
		}
		params := with(fmt.Sprintf(`{"notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":%s%s}}`, list, tasks), c.meta(""))
		return c.post(ctx, "subscriptions/listen", params, `{"jsonrpc":"2.0","id":"listen","method":"subscriptions/listen","params":`+params+`}`)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	c.identify(req.Header)
	return http.DefaultClient.Do(req)
}
