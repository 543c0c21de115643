package catalog

import (
	"maps"
	"slices"
)

// Catalog is all that the servers offer at one moment, in every namespace. Immutable.
type Catalog struct {
	spaces map[string]*Space
}

// New makes a catalog of the shelves of the servers heard of so far, by server name; servers and profiles name them all.
func New(servers []string, shelves map[string]*Shelf, profiles map[string][]string) *Catalog {
	c := &Catalog{spaces: map[string]*Space{}}
	add := func(name string, prefixed bool, servers []string) {
		servers = slices.Sorted(slices.Values(servers))
		var known []*Shelf
		for _, s := range servers {
			if shelf := shelves[s]; shelf != nil {
				known = append(known, shelf)
			}
		}
		c.spaces[name] = NewSpace(name, prefixed, servers, known)
	}
	add("", true, servers)
	for _, s := range servers {
		add(s, false, []string{s})
	}
	for _, name := range slices.Sorted(maps.Keys(profiles)) {
		add(name, true, profiles[name])
	}
	return c
}

// Space returns the namespace served at /mcp/{name}, or at /mcp for the empty name; nil: there is none.
func (c *Catalog) Space(name string) *Space { return c.spaces[name] }
