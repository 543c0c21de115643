package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tollgate/tollgate/internal/postgrestest"
)

func TestMain(m *testing.M) {
	testscript.Main(withDatabase{m}, map[string]func(){"tollgate": main})
}

// withDatabase are the tests of the package, some of which need a database.
type withDatabase struct{ m *testing.M }

// Run implements testscript.TestingM.
func (w withDatabase) Run() int { return postgrestest.Run(w.m) }

// The scripts of testdata/script run the program as a person would. TOLLGATE_UPDATE=1 writes what it prints into them.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: os.Getenv("TOLLGATE_UPDATE") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir+"/home")
			e.Setenv("XDG_STATE_HOME", e.WorkDir+"/state")
			e.Setenv("XDG_CONFIG_HOME", e.WorkDir+"/config")
			e.Setenv("XDG_CONFIG_DIRS", e.WorkDir+"/etc")
			for _, name := range []string{"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GROQ_API_KEY"} {
				e.Setenv(name, fmt.Sprintf("the-%s-of-a-test", name))
			}
			return nil
		},
	})
}
