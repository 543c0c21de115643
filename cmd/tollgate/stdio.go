package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/tollgate/tollgate/cmd/tollgate/settings"
	"github.com/tollgate/tollgate/internal/dial"
	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/redact"
	"github.com/tollgate/tollgate/llm/price"
)

// How `tollgate stdio` meets the gateway.
const (
	keyEnv    = "TOLLGATE_KEY"
	reachTime = 15 * time.Second       // for another process that is just starting to answer
	reachPoll = 100 * time.Millisecond // how often it is tried
	leaveTime = 5 * time.Second        // after a signal, for answers that are on their way
	keyBytes  = 4 << 10                // of a key file
)

const stdioLong = `For MCP clients that only spawn a process: it speaks MCP on standard input and output, of every protocol version, and
logs to standard error.

It joins the gateway that runs on the same data directory (the one of the config file that serve would take, else the
starter's), over a socket that only the owner of that directory can open. When none runs, this process is the gateway
itself, without a network listener, until its client leaves; others join it meanwhile.

The key is that of --key-file or the environment variable TOLLGATE_KEY; without a config file it is the starter's.`

// bridge connects the standard input and output of this process to a gateway.
type bridge struct {
	server  string // "": all of them
	keyFile string
	config  string // path of the config file; empty: the starter
	data    string
	level   slog.Level
}

func stdioCommand(o *options) *cobra.Command {
	b := &bridge{level: slog.LevelWarn}
	var starterData string
	c := &cobra.Command{
		Use: "stdio", Short: "speak MCP on standard input and output, for clients that spawn a process", Long: stdioLong, Args: cobra.NoArgs,
		Example: `  {"mcpServers": {"tollgate": {"command": "tollgate", "args": ["stdio"], "env": {"TOLLGATE_KEY": "tg_sk_..."}}}}`,
		RunE: func(c *cobra.Command, _ []string) error {
			src, err := o.source()
			if err != nil {
				return err
			}
			if b.config, err = settings.Find(o.config); err != nil {
				return err
			}
			if b.data, err = filepath.Abs(src.Resolve(orDefault(src.Data, settings.DefaultData))); err != nil {
				return err
			}
			if starterData != "" && b.config == "" {
				b.data = starterData
			}
			return b.run(c.Context(), c.InOrStdin(), c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&b.server, "server", "", "one server or profile, by `NAME`, instead of all (as /mcp/NAME)")
	c.Flags().StringVar(&b.keyFile, "key-file", "", "the `FILE` that holds the key (default: the variable "+keyEnv+")")
	c.Flags().StringVar(&starterData, "starter-data", "", "without a config file: the data `DIR` that serve was given")
	c.Flags().TextVar(&b.level, "log-level", slog.LevelWarn, "debug, info, warn or error")
	return c
}

// run carries in to the gateway and its answers to out, until in ends and what was asked is answered. A signal ends in, too.
func (b *bridge) run(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	input, write := io.Pipe()
	lasting, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	answers, leave, err := b.reach(ctx, lasting, input)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, answers.Close(), leave(ctx)) }()
	var ended atomic.Bool
	go func() {
		_, err := io.Copy(write, in)
		ended.Store(true)
		_ = write.CloseWithError(err) // nil: the end of the input
	}()
	defer context.AfterFunc(ctx, func() {
		ended.Store(true)
		_ = write.Close()
		time.AfterFunc(leaveTime, cut)
	})()
	_, err = io.Copy(out, answers)
	if !ended.Load() && err == nil {
		return errors.New("the gateway has ended the connection: it is stopping, or the key is good no more")
	}
	return err
}

// reach joins the gateway that runs, or is it. The connection lasts as long as lasting; leave undoes what reaching it took.
func (b *bridge) reach(ctx, lasting context.Context, input io.Reader) (answers io.ReadCloser, leave func(context.Context) error, err error) {
	leave = func(context.Context) error { return nil }
	for until := time.Now().Add(reachTime); ; {
		answers, err = b.join(lasting, input)
		var unreached *dial.Error
		if !errors.As(err, &unreached) {
			return answers, leave, err
		}
		p, err := b.host(ctx)
		if err == nil {
			if answers, err = b.join(lasting, input); err != nil {
				return nil, nil, errors.Join(err, p.drain(ctx))
			}
			return answers, p.drain, nil
		}
		if !errors.Is(err, durable.ErrLocked) || time.Now().After(until) {
			return nil, nil, err
		}
		select { // another process is about to be the gateway, or on its way out
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(reachPoll):
		}
	}
}

// join connects to the gateway that runs on the data directory. The error is a *dial.Error when there is none.
func (b *bridge) join(ctx context.Context, input io.Reader) (io.ReadCloser, error) {
	key, err := b.key()
	if err != nil {
		return nil, err
	}
	path := "/stdio"
	if b.server != "" {
		path += "/" + url.PathEscape(b.server)
	}
	// A reader that is no Closer: a connection that fails must not close the input for the next.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost"+path, struct{ io.Reader }{input})
	if err != nil {
		return nil, err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := dial.Admin.Client("unix:" + filepath.Join(b.data, stdioFile)).Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var refusal struct{ Error struct{ Message string } }
	if err := json.NewDecoder(io.LimitReader(resp.Body, keyBytes)).Decode(&refusal); err != nil || refusal.Error.Message == "" {
		refusal.Error.Message = strings.ToLower(resp.Status)
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return nil, fmt.Errorf("the gateway refuses the key: %s; set %s or name a file with --key-file", refusal.Error.Message, keyEnv)
	case http.StatusNotFound:
		return nil, fmt.Errorf("no server or profile that this key may see is named %q: see --server", b.server)
	}
	return nil, fmt.Errorf("the gateway refuses the connection: %s", refusal.Error.Message)
}

// key is the key to come with; empty: none, which is for the gateway to judge.
func (b *bridge) key() (string, error) {
	path := b.keyFile
	if path == "" {
		if key := os.Getenv(keyEnv); key != "" || b.config != "" {
			return key, nil
		}
		path = filepath.Join(b.data, keyFile)
	}
	text, err := os.ReadFile(path)
	if b.keyFile == "" && errors.Is(err, fs.ErrNotExist) {
		return "", nil // the starter has not run yet
	}
	if err != nil {
		return "", fmt.Errorf("reading the key: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// host is the gateway itself, without a network listener. The error is durable.ErrLocked when another process is it.
func (b *bridge) host(ctx context.Context) (*process, error) {
	mask := &redact.Mask{}
	catalog, err := price.Embedded()
	if err != nil {
		return nil, err
	}
	p := &process{version: version(), log: newLog(b.level, mask), mask: mask, catalog: catalog}
	var s *settings.Setup
	if b.config == "" {
		st := starterOptions{listen: settings.DefaultListen, admin: "off", data: b.data, search: "."}
		s, err = st.setup(catalog, "")
	} else {
		s, err = settings.Load(b.config, catalog)
	}
	if err != nil {
		return nil, err
	}
	if len(filepath.Join(b.data, stdioFile)) > socketPathBytes {
		return nil, fmt.Errorf("the path of the data directory is too long for a socket file: choose a shorter one than %s", b.data)
	}
	for _, w := range s.Warnings {
		p.log.Warn(w)
	}
	if err := p.start(ctx, s, p.openSockets); err != nil {
		return nil, err
	}
	if b.config != "" {
		return p, nil
	}
	if _, err := p.starterKey(ctx); err != nil {
		return nil, errors.Join(err, p.drain(ctx))
	}
	return p, nil
}
