// Package glob holds the patterns by which policies and limits name tools and models: server/tool, provider/model, with *
// for any text. An [Index] finds the rules that concern a name without trying every pattern.
package glob
