package inside

func victim() error   { return nil }
func stranger() error { return nil }
