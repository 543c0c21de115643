package vendor

import "strings"

// join puts the path of a base_url, the vendor's prefix and the dialect's tail together; Endpoint says how.
func (v *Vendor) join(path string, d Dialect) string {
	root := v.root(path)
	switch {
	case root != path: // written with one of the vendor's own prefixes
		return root + v.prefix(d) + d.tail()
	case versioned(path):
		return path + d.tail()
	case path != "" && v.Kind == Custom && !d.anthropic():
		return path + d.tail()
	}
	return path + v.prefix(d) + d.tail()
}

// root takes the longest of the vendor's own prefixes, with or without their /v1, off the end of path.
func (v *Vendor) root(path string) string {
	longest := ""
	for _, own := range []string{v.Prefix, v.Anthropic, strings.TrimSuffix(v.Prefix, "/v1"), strings.TrimSuffix(v.Anthropic, "/v1")} {
		if len(own) > len(longest) && strings.HasSuffix(path, own) {
			longest = own
		}
	}
	return strings.TrimSuffix(path, longest)
}

// versioned reports whether path ends in a version, as "/v4" or "/v1beta/openai": it is then complete.
func versioned(path string) bool {
	path = strings.TrimSuffix(path, "/openai")
	last := path[strings.LastIndexByte(path, '/')+1:]
	return len(last) > 1 && last[0] == 'v' && last[1] >= '0' && last[1] <= '9'
}
