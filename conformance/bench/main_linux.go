package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tollgate/tollgate/conformance/bench/mock"
	"github.com/tollgate/tollgate/conformance/bench/target"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the benchmark, or one of its own peers when it was started as such.
func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "mock":
		m, err := mock.Listen(args[1])
		if err != nil {
			return err
		}
		return m.Run()
	case len(args) == 3 && args[0] == "proxy":
		return target.ServeProxy(args[1], args[2])
	case len(args) == 3 && args[0] == "relay":
		return target.ServeRelay(args[1], args[2])
	}
	opts, err := parse(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return measure(ctx, opts)
}

// options are the flags.
type options struct {
	args    []string // as given, for the report
	short   bool
	rounds  int
	slice   time.Duration
	idle    int
	streams int
	only    *regexp.Regexp
	targets []string
	out     string
	data    string
	inside  bool // run the packages' own benchmarks
	root    string
	before  string // another binary
}

// The forms: rounds and slices of all, and of -short.
const (
	fullRounds, shortRounds = 5, 2
	fullSlice, shortSlice   = 1500 * time.Millisecond, 400 * time.Millisecond
)

func parse(args []string) (*options, error) {
	o := &options{args: args}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.BoolVar(&o.short, "short", false, "a first look in about a minute; writes nothing")
	f.IntVar(&o.rounds, "rounds", 0, "rounds per scenario (default 5; 2 with -short)")
	f.DurationVar(&o.slice, "slice", 0, "how long each target is measured in each round (default 1.5s; 0.4s with -short)")
	f.IntVar(&o.idle, "idle", 2000, "how many idle streams to hold for the memory of each")
	f.IntVar(&o.streams, "streams", 0, "only send that many streams through tollgate and count those cut or hung")
	only := f.String("only", "", "only scenarios (and memory-model, memory-listen) whose name matches this regular expression, and no benchmarks of packages")
	targets := f.String("targets", "", "comma separated: direct, 'net/http proxy', nginx, 'mcp-go relay', tollgate (default all; direct is always there)")
	f.StringVar(&o.out, "o", "BENCHMARKS.md", "the file to write, below -root; empty for none")
	f.StringVar(&o.data, "data", "", "where the targets' files and the ledger go: the disk below is part of what is measured (default the directory of temporary files)")
	f.BoolVar(&o.inside, "inside", true, "also run the packages' own benchmarks")
	f.StringVar(&o.root, "root", ".", "the repository, with bin/tollgate in it")
	f.StringVar(&o.before, "before", "", "another tollgate binary, measured in turn with bin/tollgate")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	o.targets = []string{target.Direct, target.Proxy, target.Nginx, target.Relay, target.Tollgate}
	if *targets != "" {
		o.targets = append([]string{target.Direct}, strings.Split(*targets, ",")...)
	}
	if o.before != "" {
		o.targets = slices.Insert(o.targets, 1, target.Before)
	}
	if *only != "" {
		var err error
		if o.only, err = regexp.Compile(*only); err != nil {
			return nil, err
		}
		o.inside = false
	}
	o.fill()
	return o, nil
}

func (o *options) fill() {
	rounds, slice := fullRounds, fullSlice
	if o.short {
		rounds, slice, o.inside, o.out = shortRounds, shortSlice, false, ""
	}
	if o.rounds <= 0 {
		o.rounds = rounds
	}
	if o.slice <= 0 {
		o.slice = slice
	}
	if o.only != nil || o.streams > 0 {
		o.out = "" // a part is not the report
	}
}
