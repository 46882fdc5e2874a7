import java.util.ArrayList;
import java.util.List;

/** Fills its heap with garbage and collects it, beside a heap that it knows nothing of. */
public class Churn {
    public static void main(String[] args) {
        List<byte[]> kept = new ArrayList<>();
        for (int i = 0; i < 400; i++) {
            byte[] block = new byte[1 << 20];
            block[i] = 1;
            if (i % 8 == 0)
                kept.add(block);
        }
        System.gc();
        if (kept.size() != 50)
            throw new AssertionError(kept.size());
    }
}
