package mcp

import (
	"errors"
	"fmt"

	"github.com/tollgate/tollgate/mcp/catalog"
)

// serverNameMax leaves room for tool names within the 64 characters that LLM APIs accept.
const serverNameMax = 32

// reserved are the names below /mcp/ that are not a server's or profile's to take.
var reserved = map[string]bool{"code": true}

// Check says what is wrong with the names of servers and profiles, as New and Reload would. It connects to nobody.
func Check(servers []Server, profiles []Profile) error { return validate(servers, profiles) }

// validate checks names: servers and profiles share one namespace, that of /mcp/{name}.
func validate(servers []Server, profiles []Profile) error {
	taken := map[string]string{} // what looks alike -> name
	take := func(what, name string) error {
		if err := goodName(name); err != nil {
			return fmt.Errorf("mcp: %s %q: %w", what, name, err)
		}
		if other, ok := taken[catalog.LooksLike(name)]; ok {
			return fmt.Errorf("mcp: %s %q: the name is taken by, or looks like, %q", what, name, other)
		}
		taken[catalog.LooksLike(name)] = name
		return nil
	}
	known := map[string]bool{}
	for _, s := range servers {
		if err := take("server", s.Name); err != nil {
			return err
		}
		if (s.URL == nil) == (len(s.Command) == 0) {
			return fmt.Errorf("mcp: server %q needs either url or command", s.Name)
		}
		switch s.Era {
		case "", "auto", "legacy", "modern":
		default:
			return fmt.Errorf("mcp: server %q: era is auto, legacy or modern, not %q", s.Name, s.Era)
		}
		known[s.Name] = true
	}
	for _, p := range profiles {
		if err := take("profile", p.Name); err != nil {
			return err
		}
		for _, s := range p.Servers {
			if !known[s] {
				return fmt.Errorf("mcp: profile %q names the server %q, which is not declared", p.Name, s)
			}
		}
	}
	return nil
}

// goodName checks the form of a name. That it has no "__" and does not end in _ is why an exposed name has one reading.
func goodName(name string) error {
	if name == "" || len(name) > serverNameMax {
		return fmt.Errorf("a name has 1 to %d characters", serverNameMax)
	}
	if reserved[name] {
		return errors.New("this name is the gateway's own")
	}
	edge := func(c byte) bool { return c == '_' || c == '-' }
	for i, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && !edge(c) {
			return errors.New("a name has a-z 0-9 - _ only")
		}
		if c == '_' && i > 0 && name[i-1] == '_' {
			return errors.New("a name has no __, which separates server and tool")
		}
	}
	if edge(name[0]) || edge(name[len(name)-1]) {
		return errors.New("a name begins and ends with a letter or digit")
	}
	return nil
}
