package era

import "slices"

// The protocol versions the gateway speaks to clients.
const (
	V2024    = "2024-11-05"
	V2025Mar = "2025-03-26"
	V2025Jun = "2025-06-18"
	V2025Nov = "2025-11-25" // the newest legacy one
	V2026    = "2026-07-28" // the modern one
)

var legacy = [...]string{V2024, V2025Mar, V2025Jun, V2025Nov}

// IsLegacy reports whether v is a version with sessions.
func IsLegacy(v string) bool { return slices.Contains(legacy[:], v) }

// Negotiate answers the version a client asks for in initialize: itself when it is known, else the newest legacy one not
// newer than it (versions are dates).
func Negotiate(asked string) string {
	for _, v := range slices.Backward(legacy[:]) {
		if v <= asked {
			return v
		}
	}
	return V2025Nov
}
