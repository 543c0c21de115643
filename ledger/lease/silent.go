package lease

import "time"

// Silent is how long ago the last exchange that the database has answered was sent; false: there was none, or this replica
// has left. It is what Alive compares with Config.Offline.
func (c *Client) Silent() (time.Duration, bool) {
	contact := c.contact.Load()
	if contact == nil {
		return 0, false
	}
	return contact.since(c.timer), true
}
