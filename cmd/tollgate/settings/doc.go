// Package settings reads the config file: its form ([File]), and what it means ([Setup]).
//
// The struct comments of File are its manual. [Load] finds every fault at once, each with its line and what to write
// instead; nothing is started from a file that has one. A Setup is whole: every secret resolved, every limit parsed, the
// policies compiled, so that a start or a reload cannot fail on what the file says.
package settings
