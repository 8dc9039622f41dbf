import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Kafka Streams: exactly_once_v2, one thread, a persistent (RocksDB) store with caching. */
public class Peer {
  static final ObjectMapper JSON = new ObjectMapper();

  static double score(double amount, long n, double total) {
    double z = -4.0 + 0.012 * amount + 0.8 * (amount / (total / n + 1.0)) - 0.01 * n;
    return 1.0 / (1.0 + Math.exp(-z));
  }

  static class Step implements Processor<byte[], byte[], byte[], byte[]> {
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<byte[], byte[]> cards;

    public void init(ProcessorContext<byte[], byte[]> context) {
      this.context = context;
      this.cards = context.getStateStore("cards");
    }

    public void process(Record<byte[], byte[]> record) {
      try {
        JsonNode tx = JSON.readTree(record.value());
        byte[] known = cards.get(record.key());
        long n = 0;
        double total = 0;
        if (known != null) {
          ByteBuffer read = ByteBuffer.wrap(known);
          n = read.getLong();
          total = read.getDouble();
        }
        n++;
        double amount = tx.get("amount").asDouble();
        total += amount;
        cards.put(record.key(), ByteBuffer.allocate(16).putLong(n).putDouble(total).array());
        double risk = score(amount, n, total);
        ObjectNode decision = JSON.createObjectNode();
        decision.put("transaction_id", tx.get("transaction_id").asText());
        decision.put("card_id", tx.get("card_id").asText());
        decision.put("score", Math.round(risk * 1e6) / 1e6);
        decision.put("decision", risk > 0.9 ? "review" : "allow");
        decision.put("model", "logit-1");
        decision.put("n", n);
        decision.put("total", Math.round(total * 100) / 100.0);
        context.forward(record.withValue(JSON.writeValueAsBytes(decision)));
      } catch (java.io.IOException error) {
        throw new RuntimeException(error);
      }
    }
  }

  public static void main(String[] arguments) {
    Properties settings = new Properties();
    settings.put("application.id", System.getenv("BENCH_GROUP"));
    settings.put("bootstrap.servers", System.getenv("BENCH_BOOTSTRAP"));
    settings.put("auto.offset.reset", "earliest");
    settings.put("processing.guarantee", "exactly_once_v2");
    settings.put("num.stream.threads", "1");
    settings.put("replication.factor", "1");
    settings.put("state.dir", System.getenv("BENCH_FOLDER"));
    String interval = System.getenv("BENCH_COMMIT_INTERVAL_MS");
    if (interval != null && !interval.isEmpty()) settings.put("commit.interval.ms", interval);
    StreamsBuilder builder = new StreamsBuilder();
    builder.addStateStore(
        Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore("cards"), Serdes.ByteArray(), Serdes.ByteArray())
            .withCachingEnabled());
    builder.stream(
            System.getenv("BENCH_INPUT"), Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
        .process(Step::new, "cards")
        .to(System.getenv("BENCH_OUTPUT"), Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));
    KafkaStreams streams = new KafkaStreams(builder.build(), settings);
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
  }
}
