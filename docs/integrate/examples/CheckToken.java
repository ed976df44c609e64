// Checks access tokens of Hammer with Java 15 or newer alone: java CheckToken.java
// Each line of standard input is a token; prints its `sub`, or "refused".
import java.math.BigInteger;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.EdECPoint;
import java.security.spec.EdECPublicKeySpec;
import java.security.spec.NamedParameterSpec;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.Scanner;
import java.util.regex.Pattern;

public class CheckToken {
    static final String HAMMER = System.getenv("LOGIN_URL"); // exactly HAMMER_PUBLIC_URL of the server, with no slash at the end
    static final Duration LIVES = Duration.ofMinutes(5), PAUSE = Duration.ofSeconds(30);
    static final HttpClient http = HttpClient.newHttpClient();
    static Map<String, PublicKey> keys = Map.of();
    static Instant fetched = Instant.MIN;

    /** The `sub` of the person whose valid token this is; null for every other token. */
    static String check(String token) throws Exception {
        String[] parts = token.split("\\.", -1);
        if (parts.length != 3) return null;
        try {
            String header = text(parts[0]), claims = text(parts[1]);
            if (!"EdDSA".equals(field(header, "alg")) || !"at+jwt".equals(field(header, "typ"))) return null;
            PublicKey key = keyOf(field(header, "kid"));
            if (key == null) return null;
            Signature signature = Signature.getInstance("Ed25519");
            signature.initVerify(key);
            signature.update((parts[0] + "." + parts[1]).getBytes(StandardCharsets.US_ASCII));
            if (!signature.verify(Base64.getUrlDecoder().decode(parts[2]))) return null;
            boolean good = HAMMER.equals(field(claims, "iss")) && HAMMER.equals(field(claims, "aud")) && field(claims, "sid") != null
                && Long.parseLong(field(claims, "exp")) > Instant.now().getEpochSecond() - 30;
            return good ? field(claims, "sub") : null;
        } catch (IllegalArgumentException | GeneralSecurityException malformed) {
            return null;
        }
    }

    static synchronized PublicKey keyOf(String kid) throws Exception {
        Instant now = Instant.now();
        if (fetched.isBefore(now.minus(LIVES)) || (!keys.containsKey(kid) && fetched.isBefore(now.minus(PAUSE)))) {
            var request = HttpRequest.newBuilder(URI.create(HAMMER + "/.well-known/jwks.json")).timeout(Duration.ofSeconds(5)).build();
            var answer = http.send(request, BodyHandlers.ofString());
            if (answer.statusCode() != 200) throw new java.io.IOException("Hammer answered " + answer.statusCode());
            var found = new HashMap<String, PublicKey>();
            for (var object = Pattern.compile("\\{[^{}]*\\}").matcher(answer.body()); object.find(); ) {
                if ("Ed25519".equals(field(object.group(), "crv"))) {
                    found.put(field(object.group(), "kid"), publicKey(field(object.group(), "x")));
                }
            }
            keys = found;
            fetched = now;
        }
        return kid == null ? null : keys.get(kid);
    }

    /** The key from its 32 bytes: y in little-endian order, whose highest bit is that of x (RFC 8032). */
    static PublicKey publicKey(String x) throws GeneralSecurityException {
        byte[] bytes = Base64.getUrlDecoder().decode(x);
        for (int low = 0, high = bytes.length - 1; low < high; low++, high--) {
            byte swapped = bytes[low];
            bytes[low] = bytes[high];
            bytes[high] = swapped;
        }
        boolean odd = (bytes[0] & 0x80) != 0;
        bytes[0] &= 0x7f;
        var point = new EdECPoint(odd, new BigInteger(1, bytes));
        return KeyFactory.getInstance("Ed25519").generatePublic(new EdECPublicKeySpec(NamedParameterSpec.ED25519, point));
    }

    static String text(String part) {
        return new String(Base64.getUrlDecoder().decode(part), StandardCharsets.UTF_8);
    }

    /** A string or number of a flat JSON object as Hammer writes it. Use your library for JSON instead. */
    static String field(String json, String name) {
        var found = Pattern.compile("\"" + name + "\"\\s*:\\s*(?:\"([^\"\\\\]*)\"|(\\d+))").matcher(json);
        return !found.find() ? null : found.group(1) != null ? found.group(1) : found.group(2);
    }

    public static void main(String[] none) throws Exception {
        for (var lines = new Scanner(System.in); lines.hasNextLine(); ) {
            String sub = check(lines.nextLine());
            System.out.println(sub != null ? sub : "refused");
        }
    }
}
