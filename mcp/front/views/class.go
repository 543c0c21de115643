package views

import (
	"slices"
	"sync/atomic"

	"github.com/tollgate/tollgate/mcp/catalog"
)

// pageBytesMax bounds the pages that are kept. One of 500 tools takes some hundred kilobytes, and there are as many as
// there are namespaces and kinds of callers that see something different. Beyond it all are dropped and made anew.
const pageBytesMax = 64 << 20

// Class is all callers who see the same of a space. They share the view, and the beginnings of list results as they go
// out: a thousand callers under one policy take the memory of one. Safe for concurrent use.
type Class struct {
	View       *catalog.View
	generation *generation                              // whose room its pages take; nil: it keeps none
	pages      [catalog.Kinds][2]atomic.Pointer[[]byte] // first pages, modern and legacy; nil: not made yet, or dropped
}

type classKey struct {
	space *catalog.Space
	sum   uint64 // of all lists
}

// class returns the one that v is the view of.
func (g *generation) class(v *catalog.View) *Class {
	key := classKey{v.Space, v.Sums()}
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.classes[key]
	if c != nil && c.View.Same(v) {
		return c
	}
	if c != nil { // two views have one sum: the second is not shared
		return &Class{View: v}
	}
	c = &Class{View: v, generation: g}
	g.classes[key] = c
	return c
}

// Page is the beginning of the result of a list, up to what differs between two requests for it. Others have the same
// bytes: nobody changes them.
func (c *Class) Page(k catalog.Kind, legacy bool) []byte {
	at := &c.pages[k][0]
	if legacy {
		at = &c.pages[k][1]
	}
	if kept := at.Load(); kept != nil {
		return *kept
	}
	page, _ := AppendPage(nil, c.View, k, "", legacy)
	if c.generation != nil {
		c.generation.keep(at, slices.Clip(page))
	}
	return page
}

// keep puts page where it belongs, after it has made room.
func (g *generation) keep(at *atomic.Pointer[[]byte], page []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if at.Load() != nil || len(page) > pageBytesMax {
		return
	}
	if g.pageBytes+len(page) > pageBytesMax {
		for _, c := range g.classes {
			for k := range c.pages {
				c.pages[k][0].Store(nil)
				c.pages[k][1].Store(nil)
			}
		}
		g.pageBytes = 0
	}
	g.pageBytes += len(page)
	at.Store(&page)
}

// AppendPage appends the beginning of the result of a list from cursor on; false: the cursor is not one of this list.
func AppendPage(b []byte, v *catalog.View, k catalog.Kind, cursor string, legacy bool) ([]byte, bool) {
	b = append(b, '{')
	if !legacy {
		b = append(b, `"resultType":"complete",`...)
	}
	b = append(b, '"')
	b = append(b, k.Member()...)
	b = append(b, `":`...)
	b, next, ok := v.AppendPage(b, k, cursor, legacy)
	if next != "" {
		b = append(b, `,"nextCursor":"`...)
		b = append(b, next...)
		b = append(b, '"')
	}
	return b, ok
}
