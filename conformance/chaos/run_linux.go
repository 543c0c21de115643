package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate/tollgate/conformance/chaos/checker"
	"github.com/tollgate/tollgate/conformance/chaos/evidence"
	"github.com/tollgate/tollgate/conformance/chaos/fleet"
	"github.com/tollgate/tollgate/conformance/launch"
	"github.com/tollgate/tollgate/ledger"
)

// journalDir is where a gateway keeps its journal, below its data.
const journalDir = "journal"

// errBroken means that a promise was not kept.
var errBroken = errors.New("promises were broken")

// chaos makes one run and judges it.
func (o *options) chaos(ctx context.Context) (err error) {
	binary, err := launch.Binary(o.root)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "chaos-")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL runs as another user
		return err
	}
	keep := true
	defer func() {
		if !keep {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if o.clock {
		built := filepath.Join(dir, "build")
		if err := os.Mkdir(built, 0o755); err != nil {
			return err
		}
		if binary, err = fleet.BuildShifted(ctx, o.root, "./cmd/tollgate", built); err != nil {
			return err
		}
	}
	fmt.Printf("seed %d, %s, %d replicas, in %s\n", o.seed, o.length, o.replicas, dir)
	result, err := o.perform(ctx, dir, binary)
	if err != nil {
		return fmt.Errorf("the run of seed %d in %s was not completed: %w", o.seed, dir, err)
	}
	fmt.Print(result.text())
	switch wrong := len(result.report.Findings) > 0; {
	case o.broken && !result.overspent():
		return errors.New("replicas that share nothing were not found to exceed a limit: the checker is of no use")
	case wrong && !o.broken:
		return fmt.Errorf("%w: repeat with -seed %d; the evidence is in %s", errBroken, o.seed, dir)
	}
	keep = o.keep
	if o.out == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(o.root, o.out), []byte(result.markdown()), 0o644)
}

// result is a judged run.
type result struct {
	o      *options
	began  time.Time
	faults []evidence.Fault
	disks  bool
	proof  string // what audit verify said
	report *checker.Report
}

// overspent reports whether the checker found a limit exceeded.
func (r *result) overspent() bool {
	for _, f := range r.report.Findings {
		if f.Rule == checker.Exceeded {
			return true
		}
	}
	return false
}

func (o *options) perform(ctx context.Context, dir, binary string) (*result, error) {
	r := &result{o: o, began: time.Now()}
	s, err := o.stage(ctx, dir, binary)
	if err != nil {
		return nil, err
	}
	err = s.play(ctx)
	if err == nil && !o.broken { // who shares nothing has no index of all
		if err = s.askIndex(ctx); err == nil {
			s.verify(ctx)
		}
	}
	if err == nil {
		err = s.rest()
	}
	if err == nil {
		r.disks, r.proof = len(s.disks) > 0, s.proof
		r.report, err = s.judge()
	}
	if err = errors.Join(err, s.strike()); err != nil {
		return nil, err
	}
	r.faults, err = evidence.Read[evidence.Fault](s.faultsFile())
	return r, errors.Join(err, ctx.Err())
}

// indexTime is how long the replicas have to bring their last entries into the index that they share, indexGap how long one
// of them may bring nothing before it counts as done.
const (
	indexTime = 90 * time.Second
	indexGap  = 3 * time.Second
)

// askIndex asks the first replica for all entries there are, until two answers in a row are as long as each other: the
// other replicas may still bring theirs, and a replica may still find its way back to the database.
func (s *scene) askIndex(ctx context.Context) error {
	var failed error
	for before, end := -1, time.Now().Add(indexTime); time.Now().Before(end); time.Sleep(indexGap) {
		var out []byte
		if out, failed = s.replicas[s.names[0]].Command(ctx, "audit", "query", "--entries", "--limit", "0", "--format", "jsonl"); failed != nil {
			continue
		}
		var err error
		if s.index, err = evidence.Scan[checker.Indexed](bytes.NewReader(out)); err != nil || len(s.index) == before {
			return err
		}
		before = len(s.index)
	}
	return failed
}

// verify has the first replica sign what there is, and the proof of all of it verified.
func (s *scene) verify(ctx context.Context) {
	out, err := s.replicas[s.names[0]].Command(ctx, "audit", "verify")
	if err != nil {
		s.unproven = err.Error()
		return
	}
	s.proof = strings.TrimSpace(string(out))
}

// rest ends replicas and upstreams, so that all is on the disk.
func (s *scene) rest() error {
	var errs []error
	for _, name := range s.names {
		errs = append(errs, s.replicas[name].Stop())
	}
	for _, p := range s.upstreams {
		errs = append(errs, p.Stop())
	}
	return errors.Join(errs...)
}

// judge reads what everybody wrote and has the checker look at it.
func (s *scene) judge() (*checker.Report, error) {
	in := checker.Input{Plan: s.plan, Zone: s.zone.Offset, Index: s.index, Unproven: s.unproven}
	faults, err := evidence.Read[evidence.Fault](s.faultsFile())
	if err != nil {
		return nil, err
	}
	for _, l := range s.lowered {
		in.Lowered = append(in.Lowered, held(l, s.names[0], faults)...)
	}
	if in.Calls, err = evidence.Read[evidence.Call](s.logOf("workers")); err != nil {
		return nil, err
	}
	for _, name := range []string{providerProcess, toolsProcess} {
		lines, err := evidence.Read[evidence.Request](s.logOf(name))
		if err != nil {
			return nil, err
		}
		requests, err := evidence.Requests(lines)
		if err != nil {
			return nil, err
		}
		in.Requests = append(in.Requests, requests...)
	}
	for _, name := range s.names {
		dir := s.replicas[name].Data()
		if err := s.addJournal(&in, checker.Journal{Name: name}, dir); err != nil {
			return nil, err
		}
	}
	for _, lost := range s.lost {
		_, dir, _ := strings.Cut(lost.Name, ": ")
		if err := s.addJournal(&in, lost, dir); err != nil {
			return nil, err
		}
	}
	return checker.Check(&in), nil
}

// addJournal reads a journal, and has the ledger's own check pass it too. It reads a copy, which outlives the disk.
func (s *scene) addJournal(in *checker.Input, j checker.Journal, data string) (err error) {
	dir := filepath.Join(s.dir, "journals", strconv.Itoa(len(in.Journals)+1))
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(data, journalDir))); err != nil {
		return err
	}
	if _, err := ledger.Check(dir); err != nil {
		return fmt.Errorf("%s: the ledger's own check: %w", j.Name, err)
	}
	if j.Entries, err = checker.ReadJournal(dir); err != nil {
		return fmt.Errorf("%s: %w", j.Name, err)
	}
	in.Journals = append(in.Journals, j)
	return nil
}
