package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/tollgate/tollgate/conformance/launch"
)

// runMax is shorter than what the suite gives a scenario, so that an error says what hung.
const runMax = 25 * time.Second

// secret is that of the key which requests without a credential act as: the agent sends none.
const secret = "a-secret-that-nobody-sends"

const rules = "version: 1\nrules:\n  - {id: all, effect: allow, tools: [\"*\"]}\n"

func main() {
	if err := drive(os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// drive runs the agent against a gateway whose only server is at url.
func drive(url string) (err error) {
	if strings.HasPrefix(os.Getenv("MCP_CONFORMANCE_SCENARIO"), "auth/") {
		return errors.New("the gateway has no OAuth towards servers")
	}
	ctx, cancel := context.WithTimeout(context.Background(), runMax)
	defer cancel()
	dir, err := os.MkdirTemp("", "toll-") // short: the path of the admin socket has 107 bytes
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	g, err := launch.Start(ctx, launch.Config{
		Binary: os.Getenv("DRIVER_TOLLGATE"), Dir: dir,
		YAML: fmt.Sprintf("anonymous: agent\nkeys: {agent: {secret: env:DRIVER_SECRET}}\nservers: {tested: {url: %q}}\n", url),
		Env:  []string{"DRIVER_SECRET=" + secret}, Policies: map[string]string{"rules.yaml": rules},
	})
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, g.Stop())
		if err != nil {
			err = fmt.Errorf("%w\nthe gateway's log ends with:\n%s", err, g.Log())
		}
	}()
	agent := exec.CommandContext(ctx, os.Getenv("DRIVER_AGENT"), g.URL()+"/mcp/tested")
	agent.Stdout, agent.Stderr = os.Stdout, os.Stderr
	if err := agent.Run(); err != nil {
		return fmt.Errorf("the agent: %w", err)
	}
	return nil
}
