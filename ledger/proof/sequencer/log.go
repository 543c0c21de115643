package sequencer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

const (
	// stepGap is how long a process gathers before it ships and sequences: an entry is in the tree some two seconds after
	// it is on the disk.
	stepGap = time.Second
	// shipAtOnce and sequenceAtOnce bound what one step does, so that a journal that is new to the proof is taken in by steps
	// that each end in their time.
	shipAtOnce     = 32
	sequenceAtOnce = 8
	// lateAfter is how old an entry may be that is not in the tree before that is an alarm.
	lateAfter = 10 * time.Second
	// warnGap is how long the same warning is not repeated.
	warnGap = time.Minute
	// stepTime bounds one step with the database.
	stepTime = 30 * time.Second
	// settleTime bounds what a stop still brings into the tree.
	settleTime = 10 * time.Second
)

// Duty says whether this process is to sequence, sign and export now. Two may believe it at once.
type Duty func(ctx context.Context) (bool, error)

// Config makes a Log.
type Config struct {
	Store   *Store
	Replica string // names the data directory
	// Frames opens the journal behind a place, as far as it is on the disk.
	Frames func(from journal.Position) *ledger.Reader
	Duty   Duty                     // nil: this process alone
	Keys   func() ([][]byte, error) // secrets of checkpoint keys that this process has, the newest first

	Every   time.Duration // between checkpoints while entries are written
	Entries int64         // so many entries make a checkpoint before its time
	Seen    string        // the file that keeps the newest checkpoint signed or seen; empty: none
	Beside  bool          // another process may keep Seen now: it is read and not written

	Signed func() // a checkpoint was signed or seen; it must not block. nil: nobody listens
	Log    *slog.Logger
	Now    func() time.Time // nil: time.Now
}

// Log is one process's part in a log.
type Log struct {
	cfg Config

	stepping sync.Mutex      // held by the one who ships, sequences or signs; guards what follows
	alarms   map[string]bool // by what is wrong; each is told once
	leads    bool            // it has the duty
	shipped  time.Time       // when it last had shipped all there was
	warned   time.Time       // when it last warned that entries are not in the tree
	looked   int64           // number of the checkpoint that was looked at last
	last     time.Time       // time of the newest checkpoint

	needs  atomic.Pointer[journal.Position] // what is before is not needed any more
	status atomic.Pointer[Status]
}

// Status is how a log stands, for metrics.
type Status struct {
	Size          int64         // entries in the tree
	Unsequenced   time.Duration // age of the oldest entry of this process that is not; 0: all are
	CheckpointAge time.Duration // since the newest checkpoint; 0: there is none
	Leads         bool          // this process sequences and signs
	Alarms        int           // things that need somebody: forks, a key that does not fit, a log that was set back
}

// New makes a Log. Run, started by the caller, keeps it going.
func New(cfg Config) *Log {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l := &Log{cfg: cfg, alarms: map[string]bool{}, shipped: cfg.Now()}
	l.needs.Store(&journal.Position{})
	l.status.Store(&Status{})
	return l
}

// Needs is the place in this process's journal before which nothing is needed: for retention.
func (l *Log) Needs() journal.Position { return *l.needs.Load() }

// Status is how the log stood at the last step.
func (l *Log) Status() Status { return *l.status.Load() }

// Run ships, sequences and signs until ctx ends; then it brings in what is left and signs once more. Errors are logged and
// what failed is tried again.
func (l *Log) Run(ctx context.Context) {
	for ctx.Err() == nil {
		stepping, cancel := context.WithTimeout(ctx, stepTime)
		more, err := l.step(stepping, false)
		cancel()
		if err != nil && ctx.Err() == nil {
			l.cfg.Log.Error("the proof is behind the ledger", "err", err)
		}
		if more && err == nil {
			continue
		}
		pause := time.NewTimer(stepGap)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if err := l.Settle(last); err != nil {
		l.cfg.Log.Error("the proof could not take in the last entries; the next start does", "err", err)
	}
}

// Settle ships, sequences and signs all there is.
func (l *Log) Settle(ctx context.Context) error {
	for {
		if more, err := l.step(ctx, true); !more || err != nil {
			return err
		}
	}
}

// step ships what there is, sequences if it is this process's duty, and signs when it is time or asked for. It reports
// whether there is more to do at once.
func (l *Log) step(ctx context.Context, sign bool) (more bool, err error) {
	l.stepping.Lock()
	defer l.stepping.Unlock()
	more, err = l.ship(ctx)
	leads, dutyErr := l.duty(ctx)
	l.leads = leads
	if dutyErr == nil && leads {
		var left bool
		left, dutyErr = l.lead(ctx, sign && !more)
		more = more || left
	}
	err = errors.Join(err, dutyErr)
	if !leads {
		err = errors.Join(err, l.look(ctx))
	}
	return more, errors.Join(err, l.measure(ctx))
}

func (l *Log) duty(ctx context.Context) (bool, error) {
	if l.cfg.Duty == nil {
		return true, nil
	}
	return l.cfg.Duty(ctx)
}

// lead is the work of the one who has the duty. It reports whether there is more to sequence.
func (l *Log) lead(ctx context.Context, sign bool) (more bool, err error) {
	for range sequenceAtOnce {
		if more, err = l.sequence(ctx); err != nil {
			return false, err
		}
		if !more {
			break
		}
	}
	return more, l.sign(ctx, sign && !more)
}

// measure notes how the log stands.
func (l *Log) measure(ctx context.Context) error {
	now := l.cfg.Now()
	head, err := l.cfg.Store.Head(ctx)
	var waiting time.Time
	if err == nil {
		waiting, err = l.cfg.Store.Waiting(ctx, l.cfg.Replica)
	}
	s := *l.status.Load()
	s.Leads, s.Alarms = l.leads, len(l.alarms)
	if err == nil {
		s.Size, s.Unsequenced = head.Tree.Size(), 0
	}
	if !waiting.IsZero() {
		s.Unsequenced = now.Sub(waiting)
	}
	if behind := now.Sub(l.shipped); behind > stepGap+stepTime/10 { // shipping fails, too
		s.Unsequenced = max(s.Unsequenced, behind)
	}
	if !l.last.IsZero() {
		s.CheckpointAge = now.Sub(l.last)
	}
	l.status.Store(&s)
	if s.Unsequenced >= lateAfter && now.Sub(l.warned) >= warnGap {
		l.warned = now
		l.cfg.Log.Warn("entries are not in the tree yet: no checkpoint covers them", "oldest", s.Unsequenced.Round(time.Second).String(), "this_process_sequences", l.leads)
	}
	return err
}

// alarm tells once of something that does not mend by itself.
func (l *Log) alarm(what, text string, args ...any) {
	if !l.alarms[what] {
		l.alarms[what] = true
		l.cfg.Log.Error(text, args...)
	}
}
