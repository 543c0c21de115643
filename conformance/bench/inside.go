package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// insideBenchTime is how long each benchmark of a package runs.
const insideBenchTime = "200ms"

// insidePackages are those whose steps stand on a request's path.
var insidePackages = []string{"./internal/strictjson", "./internal/sse", "./policy", "./ledger/...", "./gate", "./oauth", "./llm/...", "./mcp/..."}

// inside is one line of go test -bench.
type inside struct {
	pkg, name   string
	ns          float64
	bytes       int64
	allocations int64
}

// insideBenchmarks runs the packages' own benchmarks, those of the fakes and demos left out.
func insideBenchmarks(ctx context.Context, root string) ([]inside, error) {
	fmt.Println("\nin-process benchmarks of", strings.Join(insidePackages, " "))
	args := append([]string{"test", "-run", "^$", "-bench", ".", "-benchmem", "-benchtime", insideBenchTime}, insidePackages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return parseInside(out), nil
}

var cpuSuffix = regexp.MustCompile(`-\d+$`)

// parseInside reads the output of go test -bench -benchmem. Custom metrics are passed over.
func parseInside(out []byte) []inside {
	var all []inside
	pkg := ""
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 2 && fields[0] == "pkg:" {
			pkg = strings.TrimPrefix(fields[1], "github.com/tollgate/tollgate/")
		}
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		b := inside{pkg: pkg, name: cpuSuffix.ReplaceAllString(strings.TrimPrefix(fields[0], "Benchmark"), "")}
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				break
			}
			switch fields[i+1] {
			case "ns/op":
				b.ns = value
			case "B/op":
				b.bytes = int64(value)
			case "allocs/op":
				b.allocations = int64(value)
			}
		}
		all = append(all, b)
	}
	return all
}
