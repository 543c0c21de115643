package target

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/tollgate/tollgate/conformance/launch"
)

// The names of the targets.
const (
	Direct   = "direct"
	Proxy    = "net/http proxy"
	Nginx    = "nginx"
	Relay    = "mcp-go relay" // speaks MCP only
	Tollgate = "tollgate"
	Before   = "tollgate before" // another binary, to compare a change with what it changes
)

// Target is something that the benchmark sends requests to.
type Target struct {
	Name    string
	Addr    string // host:port on loopback
	Key     string // sent as a bearer token; empty: none
	Process *launch.Process
	Metrics string // URL of a Prometheus page with Go's own metrics; empty: none
}

// Paths of the mock's tool servers, and of the same behind tollgate.
var behind = map[string]string{"/mcp": "/mcp/modern", "/mcp-legacy": "/mcp/legacy", "/mcp-large": "/mcp/large"}

func (t *Target) gateway() bool { return t.Name == Tollgate || t.Name == Before }

// Path is where t serves what the mock serves at path.
func (t *Target) Path(path string) string {
	if at, ok := behind[path]; ok && t.gateway() {
		return at
	}
	return path
}

// Model is what t calls the mock's model.
func (t *Target) Model(name string) string {
	if t.gateway() {
		return "mock/" + name
	}
	return name
}

// Stop ends the target's process, if it has one.
func (t *Target) Stop() error {
	if t.Process == nil {
		return nil
	}
	return t.Process.Stop()
}

// ErrAbsent means that the target is not installed here.
var ErrAbsent = errors.New("not installed")

// StartMock starts the mock as a process of this same program.
func StartMock(ctx context.Context) (*Target, error) {
	return again(ctx, "mock", "mock")
}

// StartProxy starts the ungoverned proxy as a process of this same program.
func StartProxy(ctx context.Context, mock string) (*Target, error) {
	t, err := again(ctx, Proxy, "proxy", mock)
	if err == nil {
		t.Metrics = "http://" + t.Addr + metricsPath
	}
	return t, err
}

// StartRelay starts the relay of MCP as a process of this same program.
func StartRelay(ctx context.Context, mock string) (*Target, error) {
	t, err := again(ctx, Relay, "relay", mock)
	if err == nil {
		t.Metrics = "http://" + t.Addr + metricsPath
	}
	return t, err
}

// again runs this program's own subcommand, which serves on the address it is given.
func again(ctx context.Context, name, subcommand string, args ...string) (*Target, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr, err := launch.FreeAddr()
	if err != nil {
		return nil, err
	}
	p, err := launch.Run("", nil, self, append([]string{subcommand, addr}, args...)...)
	if err != nil {
		return nil, err
	}
	return ready(ctx, &Target{Name: name, Addr: addr, Process: p})
}

func ready(ctx context.Context, t *Target) (*Target, error) {
	if err := t.Process.Ready(ctx, "http://"+t.Addr+"/readyz"); err != nil {
		return nil, errors.Join(err, t.Stop())
	}
	return t, nil
}

// nginxConfig proxies everything to the mock over kept connections, without logs and without buffering answers.
const nginxConfig = `daemon off;
worker_processes auto;
pid nginx.pid;
error_log stderr warn;
%s
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  client_body_buffer_size 128k;
  client_max_body_size 4m;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  upstream mock { server %s; keepalive 512; keepalive_requests 1000000000; }
  server {
    listen %s;
    location / {
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 10m;
    }
  }
}
`

// StartNginx starts the nginx that PATH or /usr/sbin has, with files in dir only; ErrAbsent when there is none.
func StartNginx(ctx context.Context, dir, mock string) (*Target, error) {
	binary, err := exec.LookPath("nginx")
	if err != nil {
		if binary, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			return nil, fmt.Errorf("nginx: %w", ErrAbsent)
		}
	}
	addr, err := launch.FreeAddr()
	if err != nil {
		return nil, err
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // else the workers could not write below dir
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, user, mock, addr), 0o600); err != nil {
		return nil, err
	}
	p, err := launch.Run(dir, nil, binary, "-p", dir, "-c", file, "-e", "stderr")
	if err != nil {
		return nil, err
	}
	return ready(ctx, &Target{Name: Nginx, Addr: addr, Process: p})
}
