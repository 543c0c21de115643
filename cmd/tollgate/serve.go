package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/cobra"

	"github.com/tollgate/tollgate/cmd/tollgate/settings"
	"github.com/tollgate/tollgate/internal/collector"
	"github.com/tollgate/tollgate/internal/redact"
	"github.com/tollgate/tollgate/llm/price"
)

// settleTime is how long changed files must be quiet before they are read: editors write in several steps.
const settleTime = 300 * time.Millisecond

func serveCommand(o *options) *cobra.Command {
	var level slog.Level
	var st starterOptions
	c := &cobra.Command{
		Use: "serve", Short: "start the gateway; the starter when there is no config file", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			mask := &redact.Mask{}
			path, err := settings.Find(o.config)
			if err != nil {
				return err
			}
			if path == "" {
				if !c.Flags().Changed("log-level") {
					level = slog.LevelWarn // the starter speaks to a person
				}
				return serveStarter(c.Context(), c.ErrOrStderr(), st, newLog(level, mask), mask)
			}
			return serveFile(c.Context(), path, newLog(level, mask), mask)
		},
	}
	c.Flags().TextVar(&level, "log-level", slog.LevelInfo, "debug, info, warn or error")
	st.flags(c)
	return c
}

// newLog writes JSON lines to standard error; what looks like a credential is masked.
func newLog(level slog.Level, mask *redact.Mask) *slog.Logger {
	return slog.New(mask.Handler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})))
}

// serveFile runs the gateway that the config file at path says until ctx ends.
func serveFile(ctx context.Context, path string, log *slog.Logger, mask *redact.Mask) error {
	collector.Pace()
	catalog, err := price.Embedded()
	if err != nil {
		return err
	}
	s, err := settings.Load(path, catalog)
	if err != nil {
		return err
	}
	for _, w := range s.Warnings {
		log.Warn(w)
	}
	p, err := start(ctx, s, catalog, version(), log, mask)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // stopped while it waited
	}
	if err != nil {
		return err
	}
	log.Info("serving", "agents", p.doors.agents.Addr().String(), "admin", p.adminAddress(), "policy", s.Policy.Revision(), "version", version())
	stopWatching := p.watch(ctx, path)
	<-ctx.Done()
	stopWatching()
	return p.drain(ctx)
}

// drain closes p when its time is over.
func (p *process) drain(ctx context.Context) error {
	p.log.Info("draining: calls under way may end, new ones are refused; a second signal kills", "at_most", drainTime.String())
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	return p.close(ctx)
}

func (p *process) adminAddress() string {
	if p.doors.admin == nil {
		return "socket only"
	}
	return p.doors.admin.Addr().String()
}

// watch reloads on SIGHUP and when a file of the setup changes. The returned function ends it.
func (p *process) watch(ctx context.Context, path string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	files, err := fsnotify.NewWatcher()
	if err != nil {
		p.log.Error("file changes are not noticed: send SIGHUP instead", "err", err)
		files = &fsnotify.Watcher{}
	}
	p.watchFiles(files)
	done := make(chan struct{})
	go func() {
		defer close(done)
		quiet := time.NewTimer(time.Hour)
		quiet.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				p.reloadFile(ctx, path, files)
			case e := <-files.Events:
				if p.concerns(e.Name) {
					quiet.Reset(settleTime)
				}
			case <-quiet.C:
				p.reloadFile(ctx, path, files)
			case err := <-files.Errors:
				p.log.Error("watching files", "err", err)
			}
		}
	}()
	return func() {
		signal.Stop(hup)
		cancel()
		<-done
		if err == nil {
			_ = files.Close()
		}
	}
}

// watchFiles watches the directories of the setup's files: a file that is replaced by renaming has another inode.
func (p *process) watchFiles(files *fsnotify.Watcher) {
	if files.Events == nil {
		return
	}
	for dir := range p.watched() {
		if err := files.Add(dir); err != nil {
			p.log.Warn("changes in a directory are not noticed", "dir", dir, "err", err)
		}
	}
}

// watched is the set of directories that hold the setup's files; a policy directory is watched itself.
func (p *process) watched() map[string]bool {
	dirs := map[string]bool{}
	for _, f := range p.inForce().Files {
		dirs[filepath.Dir(f)] = true
	}
	if p.inForce().Policies != "" {
		dirs[p.inForce().Policies] = true
	}
	return dirs
}

// concerns reports whether a changed file is one of the setup's.
func (p *process) concerns(name string) bool {
	for _, f := range p.inForce().Files {
		if filepath.Clean(name) == filepath.Clean(f) || filepath.Dir(name) == filepath.Clean(f) {
			return true
		}
		// A mounted config map changes by a link named ..data in the file's directory.
		if filepath.Base(name) == "..data" && filepath.Dir(name) == filepath.Dir(f) {
			return true
		}
	}
	return false
}

// reloadFile reads the config file again. What was in force stays if anything is wrong.
func (p *process) reloadFile(ctx context.Context, path string, files *fsnotify.Watcher) {
	next, err := settings.Load(path, p.catalog)
	if err == nil {
		err = p.reload(ctx, next)
	}
	if err != nil {
		p.log.Error("the config was not reloaded; the one before stays in force", "err", err)
		return
	}
	p.watchFiles(files)
	for _, w := range next.Warnings {
		p.log.Warn(w)
	}
	p.log.Info("reloaded", "policy", next.Policy.Revision(), "servers", len(next.Servers), "providers", len(next.Routes.Providers), "keys", len(next.Keys))
}
