// Package screen lays a snapshot of a heap out as text: in the lines of a terminal, with colours and keys, or plain.
package screen
