package target

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of times in /proc, the same on every Linux.
const ticksPerSecond = 100

// Cost is what a target's processes have used so far, its workers included.
type Cost struct {
	CPU      time.Duration // user and system
	RSSBytes int64
}

// Cost reads what t's processes have used: those of the process group it leads. A target without a process costs nothing.
func (t *Target) Cost() (Cost, error) {
	if t.Process == nil {
		return Cost{}, nil
	}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return Cost{}, err
	}
	var sum Cost
	found := false
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		s, ok := parseStat(line)
		if ok && s.group == t.Process.PID() {
			sum.CPU += s.cpu
			sum.RSSBytes += s.pages * int64(os.Getpagesize())
			found = true
		}
	}
	if !found {
		return sum, fmt.Errorf("%s is not running any more:\n%s", t.Name, t.Process.Log())
	}
	return sum, nil
}

const (
	metricsPath   = "/metrics"
	mallocsMetric = "go_memstats_mallocs_total"
)

// Mallocs reads how many objects the target has allocated so far; ok is false when it does not tell.
func (t *Target) Mallocs(ctx context.Context) (n float64, ok bool) {
	if t.Metrics == "" {
		return 0, false
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.Metrics, nil)
	if err != nil {
		return 0, false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), mallocsMetric+" "); found {
			n, err := strconv.ParseFloat(value, 64)
			return n, err == nil
		}
	}
	return 0, false
}

type stat struct {
	group int
	cpu   time.Duration
	pages int64
}

// parseStat reads a line of /proc/PID/stat (proc_pid_stat(5)); the name in it, in parentheses, may hold anything.
func parseStat(line []byte) (stat, bool) {
	end := bytes.LastIndexByte(line, ')')
	if end < 0 {
		return stat{}, false
	}
	fields := bytes.Fields(line[end+1:]) // fields[0] is field 3, the state
	if len(fields) < 22 {
		return stat{}, false
	}
	number := func(field int) int64 {
		n, _ := strconv.ParseInt(string(fields[field-3]), 10, 64)
		return n
	}
	ticks := number(14) + number(15)
	return stat{group: int(number(5)), cpu: time.Duration(ticks) * time.Second / ticksPerSecond, pages: number(24)}, true
}
