package sandbox

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"

	"golang.org/x/time/rate"
)

const (
	// lineBytesMax cuts a line of standard error; longer ones are dumps nobody reads in a log.
	lineBytesMax = 4096
	// linesPerSecond and linesBurst bound what a chatty child puts into the log: a stack trace passes, a loop does not.
	linesPerSecond = 20
	linesBurst     = 200
	// secretBytesMin is the shortest text taken out: shorter ones are no secrets and would cut words.
	secretBytesMin = 6
)

// lineLog writes the lines of a child's standard error to a log. It reads all of it, so that the child never waits for
// it, and drops what is too much.
type lineLog struct {
	log     *slog.Logger
	hide    *strings.Replacer
	longest int // bytes of the longest hidden text
	allow   *rate.Limiter
	dropped int
}

func newLineLog(log *slog.Logger, secrets []string) *lineLog {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &lineLog{log: log, allow: rate.NewLimiter(linesPerSecond, linesBurst)}
	var texts []string
	for _, s := range secrets {
		for part := range strings.SplitSeq(s, "\n") { // a key file is printed line by line
			if part = strings.TrimSpace(part); len(part) >= secretBytesMin {
				texts = append(texts, part)
				l.longest = max(l.longest, len(part))
			}
		}
	}
	// The longest goes first, so that no shorter one inside it leaves its rest behind.
	slices.SortFunc(texts, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var pairs []string
	for _, t := range texts {
		pairs = append(pairs, t, "[redacted]")
	}
	l.hide = strings.NewReplacer(pairs...)
	return l
}

// copy logs r until its end.
func (l *lineLog) copy(r io.Reader) {
	in := bufio.NewReaderSize(r, lineBytesMax+l.longest)
	for {
		line, err := in.ReadSlice('\n')
		cut := errors.Is(err, bufio.ErrBufferFull)
		l.write(string(line), cut)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		if err != nil {
			l.report()
			return
		}
	}
}

func (l *lineLog) write(line string, cut bool) {
	text := strings.ToValidUTF8(strings.TrimRight(l.hide.Replace(line), "\r\n"), "\uFFFD")
	if cut {
		text = text[:max(0, len(text)-l.longest)] // it may end in the first part of a secret
	}
	if len(text) > lineBytesMax {
		text, cut = text[:lineBytesMax], true
	}
	if text == "" {
		return
	}
	if !l.allow.Allow() {
		l.dropped++
		return
	}
	l.report()
	l.log.LogAttrs(context.Background(), slog.LevelInfo, "stderr", slog.String("line", strings.ToValidUTF8(text, "")), slog.Bool("cut", cut))
}

// report says how many lines are missing before the next one.
func (l *lineLog) report() {
	if l.dropped > 0 {
		l.log.LogAttrs(context.Background(), slog.LevelWarn, "stderr lines dropped: too many per second", slog.Int("lines", l.dropped))
		l.dropped = 0
	}
}
