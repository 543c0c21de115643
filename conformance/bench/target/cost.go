package target

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
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
