package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/dustin/go-humanize"
)

// sizeValue is a flag for a number of bytes as people write them.
type sizeValue uint64

// Set implements pflag.Value.
func (v *sizeValue) Set(s string) error {
	n, err := humanize.ParseBytes(s)
	if number, ok := errors.AsType[*strconv.NumError](err); ok {
		err = number.Err // without the name of the function
	}
	if err != nil {
		return fmt.Errorf("no size such as 64k, 512MB or 1.5GiB: %w", err)
	}
	if n == 0 {
		return errors.New("must be more than 0")
	}
	*v = sizeValue(n)
	return nil
}

// String implements pflag.Value.
func (v *sizeValue) String() string {
	if *v == 0 {
		return "" // no default to be told of
	}
	return humanize.IBytes(uint64(*v))
}

// Type implements pflag.Value.
func (v *sizeValue) Type() string { return "size" }

// addressValue is a flag for an address.
type addressValue uint64

// Set implements pflag.Value.
func (v *addressValue) Set(s string) error {
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return fmt.Errorf("no address such as 0x5500_0000_0000: %w", errors.Unwrap(err))
	}
	*v = addressValue(n)
	return nil
}

// String implements pflag.Value.
func (v *addressValue) String() string {
	if *v == 0 {
		return ""
	}
	return hex(uint64(*v))
}

// Type implements pflag.Value.
func (v *addressValue) Type() string { return "address" }

// hex writes an address in the way in which --base reads it.
func hex(n uint64) string { return fmt.Sprintf("%#x", n) }
