// Package sheet prints what commands and the admin API list: as a table for people, or as JSON, JSON lines or CSV for
// programs. Rows are printed as they come, so a list may be longer than the memory.
package sheet
