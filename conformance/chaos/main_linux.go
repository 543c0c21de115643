package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/tollgate/tollgate/conformance/chaos/evidence"
	"github.com/tollgate/tollgate/conformance/chaos/upstream"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// run is the whole, or one of the upstreams when it was started as such.
func run(args []string) error {
	if len(args) == 4 && (args[0] == providerProcess || args[0] == toolsProcess) {
		return serveUpstream(args[0], args[1], args[2], args[3])
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return o.chaos(ctx)
}

// The names under which the program starts itself as an upstream.
const (
	providerProcess = "provider"
	toolsProcess    = "tools"
)

func serveUpstream(which, addr, path, seed string) error {
	n, err := strconv.ParseUint(seed, 10, 64)
	if err != nil {
		return err
	}
	log, err := evidence.Create(path)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	handler := map[string]func(*evidence.Log, uint64) http.Handler{providerProcess: upstream.Provider, toolsProcess: upstream.Tools}[which]
	err = upstream.Serve(ctx, addr, handler(log, n))
	return errors.Join(err, log.Close())
}

// options are the flags.
type options struct {
	args     []string
	length   time.Duration
	seed     uint64
	replicas int
	short    bool
	broken   bool
	alone    bool
	clock    bool
	keep     bool
	out      string
	root     string
	dir      string
}

// The lengths of a run: of all, of -short and of -broken.
const (
	lengthFull   = 10 * time.Minute
	lengthShort  = 35 * time.Second
	lengthBroken = 10 * time.Second
)

func parse(args []string) (*options, error) {
	o := &options{args: args}
	f := flag.NewFlagSet("chaos", flag.ContinueOnError)
	minutes := f.Float64("minutes", 0, "how long workers work (default 10; less with -short and -broken)")
	f.Uint64Var(&o.seed, "seed", 0, "of the schedule of faults and of what workers ask (default: by the clock)")
	f.IntVar(&o.replicas, "replicas", 3, "how many gateways share the database")
	f.BoolVar(&o.short, "short", false, "under 90 seconds in all; writes nothing")
	f.BoolVar(&o.broken, "broken", false, "no shared database and no faults: the checker must find that limits are exceeded")
	f.BoolVar(&o.alone, "alone", false, "one gateway without a database")
	f.BoolVar(&o.clock, "clock", true, "move clocks; this builds the gateway once more, with a clock that can be moved")
	f.BoolVar(&o.keep, "keep", false, "keep the directory of the run whatever comes of it")
	f.StringVar(&o.out, "o", "CHAOS.md", "the file to write, below -root; empty for none")
	f.StringVar(&o.root, "root", ".", "the repository, with bin/tollgate in it")
	f.StringVar(&o.dir, "dir", "", "where to make the directory of the run (default: that of temporary files)")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("unknown argument %q", f.Arg(0))
	case o.replicas < 1:
		return nil, errors.New("-replicas: there must be one at least")
	}
	o.length = time.Duration(*minutes * float64(time.Minute))
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano() % 1_000_000)
	}
	o.fill()
	return o, nil
}

func (o *options) fill() {
	length := lengthFull
	if o.short {
		length, o.out = lengthShort, ""
	}
	if o.broken {
		length, o.out = lengthBroken, ""
	}
	if o.alone {
		o.replicas, o.out = 1, ""
	}
	if o.broken || o.alone {
		o.clock = false // whoever has no database goes by the machine's clock
	}
	if o.length <= 0 {
		o.length = length
	}
}
