// Package file is the sink that appends lines to a file. A batch is forced to disk before it counts as delivered. What a
// crash left of a line is cut off when the file is opened again, and the line is written anew.
//
// By size or age the file is moved aside as NAME.TIME.EXT, compressed if that is wanted, and a new one is begun. Nothing is
// ever removed. A file that another program moved away is noticed, too.
package file
