package sys

import "os"

// NewEvent makes an event of a pipe, as there is no eventfd.
func NewEvent() (*Event, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &Event{r, w}, nil
}
