package collector

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
)

const (
	// room is how much memory may be spent on collecting less often than Go does by itself.
	room = 64 << 20
	// roomShare is the part of the memory that the process may use which is spent so at most: a quarter.
	roomShare = 4

	percentMin = 100 // Go's own
	percentMax = 400
	// percentStep is the least change worth making: each stops the process for some ten microseconds.
	percentStep = 20
)

// limits are where Linux says how much memory the process may use: control groups of version 2 and 1.
var limits = [...]string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// Pace begins to pace the collector, for as long as the process lives. It does nothing when the environment sets GOGC:
// whoever did knows better.
func Pace() {
	if os.Getenv("GOGC") != "" {
		return
	}
	allowed := uint64(math.MaxUint64)
	for _, file := range limits {
		if text, err := os.ReadFile(file); err == nil {
			allowed = min(allowed, parseLimit(string(text)))
		}
	}
	p := &pacer{room: min(room, allowed/roomShare), percent: percentMin, set: func(percent int) { debug.SetGCPercent(percent) }}
	p.adjust(live())
	p.arm()
}

// parseLimit reads a control group's limit; one that cannot be read is none.
func parseLimit(text string) uint64 {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return math.MaxUint64 // "max"
	}
	return n
}

// pacer sets the percentage anew after each collection. Its methods run one after the other.
type pacer struct {
	room    uint64
	percent int
	set     func(percent int)
}

// arm has adjust called after the next collection: it makes something that nobody holds.
func (p *pacer) arm() {
	sentinel := new([64]byte)
	runtime.AddCleanup(sentinel, func(p *pacer) {
		p.adjust(live())
		p.arm()
	}, p)
}

func (p *pacer) adjust(live uint64) {
	percent := percentOf(live, p.room)
	if d := percent - p.percent; d < percentStep && d > -percentStep && percent != percentMin {
		return
	}
	if percent != p.percent {
		p.percent = percent
		p.set(percent)
	}
}

// percentOf is by how much a heap of which live bytes are in use may grow.
func percentOf(live, room uint64) int {
	return int(min(max(room*100/max(live, 1), percentMin), percentMax))
}

// live is what the last collection left.
func live() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return math.MaxUint64
	}
	return sample[0].Value.Uint64()
}
