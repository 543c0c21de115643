package launch

import (
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
)

// child is the test binary itself as a program to be started.
const child = "LAUNCH_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(child) {
	case "":
		os.Exit(m.Run())
	case "fails":
		println("the reason")
		os.Exit(3)
	case "serves":
		println("serving")
		if err := http.ListenAndServe(os.Args[1], http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})); err != nil {
			println(err.Error())
			os.Exit(1)
		}
	}
}

func start(t *testing.T, as string, args ...string) *Process {
	t.Helper()
	p, err := Run(t.TempDir(), []string{child + "=" + as}, os.Args[0], args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func TestAProgramIsReadyAndStops(t *testing.T) {
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, "serves", addr)
	if err := p.Ready(t.Context(), "http://"+addr); err != nil {
		t.Fatal(err)
	}
	if err := p.Printed(t.Context(), "serving"); err != nil {
		t.Error(err)
	}
	if err := p.Listens(t.Context(), addr); err != nil {
		t.Error(err)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("it still listens")
	}
	if err := p.Stop(); err != nil {
		t.Errorf("stopping again: %v", err)
	}
}

func TestAProgramThatFailsSaysWhy(t *testing.T) {
	p := start(t, "fails")
	err := p.Ready(t.Context(), "http://127.0.0.1:1")
	if err == nil || !strings.Contains(err.Error(), "the reason") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("not ready: %v", err)
	}
	if err := p.Stop(); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("stopped: %v", err)
	}
}

func TestAProgramThatIsNotThere(t *testing.T) {
	if _, err := Run(t.TempDir(), nil, "/nowhere/tollgate"); err == nil {
		t.Error("started")
	}
	if _, err := Binary(t.TempDir()); !errors.Is(err, ErrNotBuilt) {
		t.Errorf("got %v", err)
	}
}

func TestTheLogKeepsItsEnd(t *testing.T) {
	var log tail
	for range 3 * logShownBytes / 8 {
		log.Write([]byte("8 bytes\n"))
	}
	log.Write([]byte("the end"))
	got := log.String()
	if len(got) != logShownBytes || !strings.HasSuffix(got, "the end") || len(log.b) > 2*logShownBytes {
		t.Errorf("%d bytes shown of %d kept, ends with %q", len(got), len(log.b), got[len(got)-10:])
	}
}

func TestAddressesAreReadFromTheLog(t *testing.T) {
	g := &Gateway{Process: &Process{log: &tail{}}}
	g.log.Write([]byte("{\"msg\":\"starting\",\"agents\":\"127.0.0.1:1\"}\nno JSON\n"))
	if g.readAddresses() {
		t.Errorf("read %s from a log that does not say it", g.Addr)
	}
	g.log.Write([]byte("{\"msg\":\"serving\",\"agents\":\"127.0.0.1:2\",\"admin\":\"127.0.0.1:3\"}\n"))
	if !g.readAddresses() || g.URL() != "http://127.0.0.1:2" || g.Admin != "127.0.0.1:3" {
		t.Errorf("read %q and %q", g.Addr, g.Admin)
	}
}
