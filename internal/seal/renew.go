package seal

import "errors"

// Renewed counts what was found while rows were sealed again.
type Renewed struct {
	// Examined are rows that hold something sealed.
	Examined int `json:"examined"`
	// Resealed are those that were sealed under an older key, at least in part.
	Resealed int `json:"resealed"`
	// Unreadable are those that no key of the ring opens. They are left as they are.
	Unreadable int `json:"unreadable"`
}

// Renew goes through rows that hold something sealed and has each sealed again. page
// gives those behind a row, or the first ones for nil; renew tells whether there was
// anything to do. It may be stopped and begun again at any time.
func Renew[Row any](page func(after *Row) ([]*Row, error), renew func(row *Row) (bool, error)) (Renewed, error) {
	var (
		out   Renewed
		after *Row
	)
	for {
		rows, err := page(after)
		if err != nil || len(rows) == 0 {
			return out, err
		}
		for _, row := range rows {
			after = row
			out.Examined++
			changed, err := renew(row)
			switch {
			case errors.Is(err, ErrUnknownKey), errors.Is(err, ErrBroken):
				out.Unreadable++
			case err != nil:
				return out, err
			case changed:
				out.Resealed++
			}
		}
	}
}
