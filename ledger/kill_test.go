package ledger_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

// killedEnv tells the test binary to be the process that is killed: DIR KEY DURABILITY.
const killedEnv = "TOLLGATE_LEDGER_KILLED"

func TestMain(m *testing.M) {
	var dir, key, durability string
	if n, _ := fmt.Sscan(os.Getenv(killedEnv), &dir, &key, &durability); n == 3 {
		err := callUntilKilled(dir, key, ledger.Durability(durability))
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// killedLimits are those of each key: on calls, on money (300 nano-USD, of which each call holds 2), on calls at once.
func killedLimits(key string) (map[ledger.Scope][]ledger.Limit, error) {
	var all []ledger.Limit
	for _, text := range []string{"400 calls / 1d", "0.0000003 USD / 1d hard", "3 concurrent"} {
		l, err := ledger.ParseLimit(text)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return map[ledger.Scope][]ledger.Limit{{Level: ledger.KeyLevel, Name: key}: all}, nil
}

// callUntilKilled makes calls as fast as it can, from several goroutines, and says of each that it leaves.
func callUntilKilled(dir, key string, durability ledger.Durability) error {
	l, err := ledger.Open(ledger.Config{Dir: dir, Durability: durability, SegmentBytes: 64 << 10})
	if err != nil {
		return err
	}
	limits, err := killedLimits(key)
	if err != nil {
		return err
	}
	l.SetLimits(limits)
	who := &policy.Principal{Customer: "acme", Key: key, KeyID: key}
	fmt.Println("ready")
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for i := 0; ; i++ {
				call := &policy.Call{Principal: who, Action: policy.ToolCall, Upstream: "tracker", Target: "search", Now: time.Now()}
				r, err := l.Reserve(context.Background(), call, nil, ledger.Hold{Cost: 1, Worst: 2})
				if _, limited := errors.AsType[*ledger.LimitError](err); limited {
					continue
				}
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				os.Stdout.WriteString(r.ID() + "\n")
				if i%7 == 0 {
					err = r.Void(ledger.Outcome{Status: ledger.Unsent})
				} else {
					err = r.Post(ledger.Outcome{Status: ledger.OK, Usage: ledger.Usage{Cost: 1}})
				}
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
				}
			}
		})
	}
	wg.Wait()
	return errors.New("not killed")
}

// A process is killed in the midst of calls, fifty times in the same directory, with every durability in turn. After each start every call that left
// has its entry, none is open, the balances are what the entries come to and no limit was exceeded.
func TestKilledProcessLosesNothing(t *testing.T) {
	dir := t.TempDir()
	rounds := 50
	if testing.Short() {
		rounds = 8
	}
	left, interrupted := map[string]bool{}, 0
	for round := range rounds {
		key := fmt.Sprintf("k%d", round)
		killOnce(t, dir, key, []ledger.Durability{ledger.Overlap, ledger.Strict, ledger.Relaxed}[round%3], left)
		l, err := ledger.Open(ledger.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		interrupted += l.Recovery().Interrupted
		limits, err := killedLimits(key)
		if err != nil {
			t.Fatal(err)
		}
		l.SetLimits(limits)
		for _, b := range l.Balances() {
			if b.Held != 0 || b.Used > b.Limit.Amount {
				t.Errorf("round %d, %s: used %d, held %d", round, b.Limit.Text, b.Used, b.Held)
			}
		}
		if _, err := l.Check(context.Background()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	report, err := ledger.Check(dir)
	if err != nil {
		t.Fatal(err)
	}
	if report.Open != 0 || report.Posted+report.Voided != report.Calls {
		t.Errorf("%+v", report)
	}
	storage, err := durable.Disk(dir)
	if err != nil {
		t.Fatal(err)
	}
	if found := reservedOf(t, storage, left); found != len(left) {
		t.Errorf("%d of %d calls that left have an entry", found, len(left))
	}
	t.Logf("%d calls left in %d rounds, %d of them cut by the kill; %d entries", len(left), rounds, interrupted, report.Entries)
	if len(left) < rounds*10 {
		t.Errorf("only %d calls left: too few to mean anything", len(left))
	}
}

// killOnce runs a process for a moment, kills it, and notes the calls it said have left.
func killOnce(t *testing.T, dir, key string, durability ledger.Durability, left map[string]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s", killedEnv, dir, key, durability))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the process did not start: %q", lines.Text())
	}
	// It is killed after a number of calls, not after a time: a slow machine tests as much as a fast one.
	for n := 1 + rand.IntN(200); n > 0 && lines.Scan(); n-- {
		left[lines.Text()] = true
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		if len(lines.Text()) == 36 { // the last line may be cut
			left[lines.Text()] = true
		}
	}
	_ = cmd.Wait() // killed
}
