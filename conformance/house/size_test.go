package house

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

func TestSizesOverTheNormAreFound(t *testing.T) {
	fsys := fstest.MapFS{}
	function := "func f() {\n" + strings.Repeat("\t_ = 0\n", MaxFunctionLines-1) + "}\n"
	fsys["mcp/long.go"] = source("mcp", function)
	for i := range MaxPackageLines / 700 {
		fsys[fmt.Sprintf("llm/part%d.go", i)] = source("llm", strings.Repeat("var _ = 0\n", 700))
	}
	fsys["llm/rest.go"] = source("llm", strings.Repeat("var _ = 0\n", 250))
	fsys["gate/big.go"] = source("gate", strings.Repeat("var _ = 0\n", MaxFileLines))
	fsys["oauth/fits.go"] = source("oauth", "func f() {\n"+strings.Repeat("\t_ = 0\n", MaxFunctionLines-2)+"}\n")
	compare(t, []string{
		"mcp/long.go:3: size: f has 71 lines",
		"llm: size: 3",
		"gate/big.go: size: 802 lines",
	}, fsys)
}

func source(name, body string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte("// Package " + name + " is long.\npackage " + name + "\n" + body)}
}

func TestWordsOfOneMachineAreFound(t *testing.T) {
	compare(t, []string{
		"README.md:1: words", "README.md:2: words", "mcp/a.go:3: words", "run.md:1: words",
	}, fstest.MapFS{
		"README.md": {Data: []byte("see /wor" + "k/notes\ninstall from registry.npmjs.or" + "g\n")},
		"mcp/a.go":  {Data: []byte("// Package mcp is a gateway.\npackage mcp\n// TO" + "DO: later\n")},
		"run.md":    {Data: []byte("\"/roo" + "t/x\"\n")},
		"ok.md":     {Data: []byte("the /work of others, /tmp and todo lists\n")},
	})
}
